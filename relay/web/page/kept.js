// What a reload of this tab finds again, in `sessionStorage`. A browser that blocks cookies refuses it at the first touch, and
// one without room at each write. What can't be kept there is kept as long as the page is.

let found = null;
try {
  found = sessionStorage;
} catch {
  // nothing survives a reload
}

/** The storage of this tab, or null if the browser refuses it. */
export const storage = found;

const here = new Map();

export const recall = (key) => here.get(key) ?? storage?.getItem(key) ?? null;

export function keep(key, value) {
  here.delete(key);
  try {
    storage.setItem(key, value);
  } catch {
    forget(key); // or a reload would find an older one
    here.set(key, value);
  }
}

export function forget(key) {
  here.delete(key);
  storage?.removeItem(key);
}

/** The keys that a reload finds. */
export const keys = () => Object.keys(storage ?? {});
