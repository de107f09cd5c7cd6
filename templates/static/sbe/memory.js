/**
 * @typedef {import("./types.js").Session} Session
 * @typedef {{session: Session, cursor: number}} Remembered
 */

const KEY = "sbe.session";

/*
 * What survives a reload of the page: the session and how far its events were worked off. `sessionStorage` belongs to
 * one tab, and so does a session; but duplicating a tab copies it, which the lock below notices.
 */

/** @param {Remembered} remembered */
export function remember(remembered) {
  try {
    sessionStorage.setItem(KEY, JSON.stringify(remembered));
  } catch {
    // Storage may be full or forbidden. A reload then registers anew; nothing else depends on it.
  }
}

export function forget() {
  try {
    sessionStorage.removeItem(KEY);
  } catch {
    // As above.
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
 * This function will claim a session for this page for as long as the page lives.
 *
 * @param {string} sessionId
 * @returns {Promise<boolean>} false when another tab holds it
 */
export function claim(sessionId) {
  // Web Locks exist in secure contexts only; elsewhere a duplicated tab would share the session.
  if (!navigator.locks) return Promise.resolve(true);
  return new Promise((resolve) => {
    // A page that is being reloaded lets go of its lock a moment after the new one asks for it.
    const patience = AbortSignal.timeout(1_500);
    navigator.locks
      .request(`sbe-session-${sessionId}`, { signal: patience }, () => {
        resolve(true);
        return new Promise(() => {});
      })
      .catch(() => resolve(false));
  });
}
