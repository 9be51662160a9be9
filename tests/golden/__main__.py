"""`python -m tests.golden` writes the literal files, after a change that others are meant to see."""

from tests.golden.sheets import FOLDER, SHEETS, file, text

if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for sheet in SHEETS:
        file(sheet).write_text(text(sheet), encoding="utf-8")
        print(file(sheet).name)
