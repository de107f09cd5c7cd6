/** The open conference that the page's address names, until this page has joined it. */
export class JoinLink {
  /** @type {string | null} */
  confId = new URLSearchParams(location.search).get("join");

  /** Make the address that of a plain page. After a reload, the client finds the conference by itself. */
  forget() {
    this.confId = null;
    const here = new URL(location.href);
    here.searchParams.delete("join");
    history.replaceState(null, "", here);
  }
}
