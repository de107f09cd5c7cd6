const GUEST = "sbe.guest";

/**
 * The open conference that is named in the page's address, until this page has joined the conference.
 *
 * A visitor who has only the link is a guest. The address of a guest keeps the link, so that a reload shows the guest's
 * page again. An address that also names a user (`?user=`), and a tab that was registered before, are no guest's.
 */
export class JoinLink {
  #query = new URLSearchParams(location.search);
  /** @type {string | null} */
  confId = this.#query.get("join");
  isGuest = false;

  /** @param {{registered: boolean}} tab whether this tab was registered before */
  constructor({ registered }) {
    this.isGuest = this.confId !== null && this.#query.get("user") === null && (!registered || guestNumber() !== null);
  }

  /**
   * Return the username of a guest. The number makes it differ from the name of every registered user and of every other
   * guest. So nobody's calls ring at a guest who enters the same name, and guests see no calls of each other.
   *
   * @param {string} name
   */
  guestNamed(name) {
    const number = guestNumber() ?? String(1000 + (crypto.getRandomValues(new Uint32Array(1))[0] % 9000));
    try {
      sessionStorage.setItem(GUEST, number);
    } catch {
      // Storage may be forbidden. After a reload, the guest enters a name again.
    }
    return `${name} (guest ${number})`;
  }

  /** Remove the conference from the page's address. After a reload, the client finds it without the address. */
  forget() {
    if (this.isGuest) return;
    this.confId = null;
    const here = new URL(location.href);
    here.searchParams.delete("join");
    history.replaceState(null, "", here);
  }
}

/** The number of the guest who registered in this tab; null if there was none. */
function guestNumber() {
  try {
    return sessionStorage.getItem(GUEST);
  } catch {
    return null;
  }
}

/** Return the name that a guest entered. @param {string} username */
export function nameOfGuest(username) {
  return username.replace(/ \(guest \d+\)$/, "");
}
