// What the page says in words. Names are put in by the caller, apart from the sentence, so that none can bend it.

const REFUSALS = {
  name_taken: "The name # is taken. Try another one.",
  no_such_user: "There is nobody called # here.",
  busy: "# is talking with someone else.",
  away: "# is away and may come back.",
  self_chat: "# is you.",
  declined: "# did not take the call.",
  not_called: "# does not call any more.",
  not_paired: "Nobody is chatting with you.",
  bad_auth: "This relay wants proof of names, which this page can't give.",
  unavailable: "Not possible right now. Try again.",
  rate_limited: "Too fast. Wait a moment.",
  too_many: "Too many names are blocked.",
  too_long: "That is too long.",
};

const ENDINGS = {
  quit: "# has gone.",
  left: "The chat with # is over.",
  lost: "# was lost and did not come back in time.",
  kicked: "# was disconnected by the operator.",
};

const NOT_SENT = {
  not_sent: "the chat ended first",
  not_paired: "the chat ended first",
  too_long: "it is too long",
  window_full: "the relay has no room for it",
  reloaded: "the page was loaded anew",
};

const NOT_CONFIRMED = {
  lost: "# was lost",
  quit: "# had gone",
  left: "the chat ended",
  kicked: "# was disconnected by the operator",
  name_lost: "your name was lost",
  replaced: "another tab took over",
  reloaded: "the page was loaded anew",
};

export const refusal = (error) =>
  REFUSALS[error.code] ?? (error.code === "name_invalid" ? `# can't be a name: ${error.reason}` : (error.reason ?? `${error.message}.`));

export const ending = (reason) => ENDINGS[reason] ?? ENDINGS.left;

/** Why a text has not arrived for certain. */
export function failing(status, detail) {
  if (status === "refused") return `Not sent: ${NOT_SENT[detail] ?? detail}.`;
  return `May not have arrived: ${NOT_CONFIRMED[detail] ?? (detail || "no acknowledgement came")}.`;
}

/** A sentence with a name in place of `#`, as nodes: the name can't turn the direction of the rest, nor be markup. */
export function put(sentence, name) {
  const [before, ...after] = sentence.split("#");
  if (!after.length) return [before];
  const isolated = document.createElement("bdi");
  isolated.textContent = name;
  return [before, isolated, after.join("#")];
}

/** The same as plain text, for a screen reader. */
export const plain = (sentence, name) => sentence.replace("#", () => name);

/** An element with these children or texts. */
export function make(tag, className, ...inside) {
  const element = document.createElement(tag);
  element.className = className;
  element.append(...inside);
  return element;
}
