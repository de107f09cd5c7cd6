/**
 * @typedef {import("./types.js").Session} Session
 * @typedef {{session: Session, cursor: number}} Remembered
 */

const KEY = "sbe.session";

/*
 * The data that survives a reload of the page: the session, and the cursor of its events. `sessionStorage` belongs to
 * one tab, and so does a session. But a duplicated tab gets a copy of the storage. The lock below detects that.
 */

/** @param {Remembered} remembered */
export function remember(remembered) {
  try {
    sessionStorage.setItem(KEY, JSON.stringify(remembered));
  } catch {
    // Storage may be full or forbidden. In that case the user must register again after a reload.
  }
}

export function forget() {
  try {
    sessionStorage.removeItem(KEY);
  } catch {
    // See above.
  }
}

/** @returns {Remembered | null} */
export function recall() {
  try {
    const remembered = JSON.parse(sessionStorage.getItem(KEY) ?? "null");
    return remembered?.session?.token ? remembered : null;
  } catch {
    return null;
  }
}

/**
 * Claim a session for this page, for the life of the page.
 *
 * @param {string} sessionId
 * @returns {Promise<boolean>} false if another tab has claimed it
 */
export function claim(sessionId) {
  // Web Locks exist only in secure contexts. Elsewhere a duplicated tab shares the session.
  return new Promise((resolve) => {
    if (!globalThis.navigator?.locks) return resolve(true);
    // A page that is reloaded releases its lock a moment after the new page asks for it.
    const patience = AbortSignal.timeout(1_500);
    navigator.locks
      .request(`sbe-session-${sessionId}`, { signal: patience }, () => {
        resolve(true);
        return new Promise(() => {});
      })
      .catch(() => resolve(false));
  });
}
