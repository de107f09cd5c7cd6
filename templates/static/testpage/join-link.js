/** The open conference that is named in the page's address, until this page has joined the conference. */
export class JoinLink {
  /** @type {string | null} */
  confId = new URLSearchParams(location.search).get("join");

  /** Remove the conference from the page's address. After a reload, the client finds it without the address. */
  forget() {
    this.confId = null;
    const here = new URL(location.href);
    here.searchParams.delete("join");
    history.replaceState(null, "", here);
  }
}
