const OF_GUEST = / \(guest (\d+)\)$/;

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
  #number;

  /** @param {string | null} username with which this tab was registered before */
  constructor(username) {
    const [, number] = OF_GUEST.exec(username ?? "") ?? [];
    this.isGuest =
      this.confId !== null && this.#query.get("user") === null && (username === null || number !== undefined);
    this.#number = number ?? String(1000 + (crypto.getRandomValues(new Uint32Array(1))[0] % 9000));
  }

  /**
   * Return the username of a guest. The number makes it differ from the name of every registered user and of every
   * other guest. So nobody's calls ring at a guest who enters the same name, and guests see no calls of each other.
   *
   * @param {string} name
   */
  guestNamed(name) {
    return `${name} (guest ${this.#number})`;
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

/** Return a name without a guest's number, for small spaces. It still says that this is a guest. @param {string} name */
export function shortName(name) {
  return name.replace(OF_GUEST, " (guest)");
}

/** Return the name that a guest entered. @param {string} username */
export function nameOfGuest(username) {
  return username.replace(OF_GUEST, "");
}
