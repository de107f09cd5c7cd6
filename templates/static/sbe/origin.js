const PROBE_MS = 5_000;

/**
 * Finds out that the enabler does not allow the origin of this page, and says so once in the console. A browser hides
 * this reason from a page: the request fails like any request to a server that is down.
 */
export class OriginCheck {
  #done = false;

  /** An answer of the enabler could be read, so the enabler allows this page. */
  passed() {
    this.#done = true;
  }

  /**
   * A request to the enabler failed without an answer. If the enabler answers a request that ignores CORS, it is up, and
   * it does not allow this page.
   *
   * @param {string} url of the request
   */
  async suspect(url) {
    if (this.#done || !isForeign(url)) return;
    this.#done = true;
    try {
      await fetch(originOf(url), {
        method: "HEAD",
        mode: "no-cors",
        cache: "no-store",
        signal: AbortSignal.timeout(PROBE_MS),
      });
      complain(url);
    } catch {
      // The server is down, or the network is. The next failure asks again.
      this.#done = false;
    }
  }

  /** The enabler itself said that it does not allow this page. @param {string} url */
  refused(url) {
    if (this.#done || !isForeign(url)) return;
    this.#done = true;
    complain(url);
  }
}

/** @param {string} url */
function isForeign(url) {
  return Boolean(globalThis.location) && originOf(url) !== location.origin;
}

/** @param {string} url of a request or a WebSocket */
function originOf(url) {
  return new URL(url.replace(/^ws/, "http"), location.href).origin;
}

/** @param {string} url */
function complain(url) {
  console.error(
    `SbeClient: ${originOf(url)} does not allow this page. Add ${location.origin} to its SBE_ALLOWED_ORIGINS.`,
  );
}
