const GUEST = "sbe.guest";
const SUFFIX = " (guest)";

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
    this.isGuest = this.confId !== null && this.#query.get("user") === null && (!registered || wasGuest());
  }

  /** Store that this tab's registration is a guest's. */
  rememberGuest() {
    try {
      sessionStorage.setItem(GUEST, "yes");
    } catch {
      // Storage may be forbidden. After a reload, the guest enters a name again.
    }
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

function wasGuest() {
  try {
    return sessionStorage.getItem(GUEST) !== null;
  } catch {
    return false;
  }
}

/**
 * Return the username of a guest. It differs from the name of every registered user, so that the calls of a registered
 * user never ring at a guest who enters the same name.
 *
 * @param {string} name
 */
export function guestNamed(name) {
  return `${name}${SUFFIX}`;
}

/** Return the name that a guest entered. @param {string} username */
export function nameOfGuest(username) {
  return username.endsWith(SUFFIX) ? username.slice(0, -SUFFIX.length) : username;
}
