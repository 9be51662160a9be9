# Two stages, so that the image holds the installed package and nothing that was needed to build it.
FROM python:3.13-slim AS build
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY relay ./relay
COPY cli ./cli
# The page's scripts are links to these.
COPY clients/js ./clients/js
RUN python -m venv /app && /app/bin/pip install --no-cache-dir --disable-pip-version-check ".[auth]"

FROM python:3.13-slim
COPY --from=build /app /app
ENV PATH=/app/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    RELAY_HOST=0.0.0.0 \
    RELAY_HTTP_PORT=9100
# A number, so that a cluster which forbids root can see that this isn't root.
USER 10001:10001
EXPOSE 9999 9100
# Alive, not ready: a node that waits for Redis must not be replaced for it.
HEALTHCHECK --interval=5s --timeout=3s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:9100/healthz', timeout=2)"]
# The exec form: SIGTERM reaches the node itself, which says goodbye and ends.
ENTRYPOINT ["relay"]
CMD ["node"]
