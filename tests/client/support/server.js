import { webcrypto } from "node:crypto";
import { createServer } from "node:http";

/**
 * @typedef {import("node:http").IncomingMessage} IncomingMessage
 *
 * @typedef {object} Answer
 * @property {number} status
 * @property {Record<string, string>} [headers]
 * @property {string | object} [body] an object is sent as JSON
 */

// Debian 12's Node has this object, but not as a global.
globalThis.crypto ??= /** @type {any} */ (webcrypto);

/** A real HTTP server on a free port. It answers as the test says, and records the requests. */
export class Server {
  /** @type {IncomingMessage[]} */
  requests = [];
  #http;
  url = "";

  /** @param {(request: IncomingMessage) => Answer | Promise<Answer>} answer */
  constructor(answer) {
    this.#http = createServer(async (request, response) => {
      this.requests.push(request);
      const { status, headers = {}, body = "" } = await answer(request);
      const isText = typeof body === "string";
      response.writeHead(status, { ...(isText ? {} : { "Content-Type": "application/json" }), ...headers });
      response.end(isText ? body : JSON.stringify(body));
    });
  }

  /** @returns {Promise<this>} */
  async start() {
    await new Promise((resolve) => this.#http.listen(0, "127.0.0.1", () => resolve(undefined)));
    this.url = `http://127.0.0.1:${/** @type {import("node:net").AddressInfo} */ (this.#http.address()).port}`;
    return this;
  }

  async stop() {
    this.#http.closeAllConnections();
    await new Promise((resolve) => this.#http.close(resolve));
  }
}
