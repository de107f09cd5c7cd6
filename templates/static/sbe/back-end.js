import { SbeError } from "./errors.js";
import { Rest, randomKey } from "./rest.js";

/**
 * @typedef {import("./types.js").DevServer} DevServer
 * @typedef {import("./types.js").Identity} Identity
 * @typedef {import("./types.js").Registered} Registered
 * @typedef {import("./types.js").Registration} Registration
 * @typedef {import("./types.js").Session} Session
 * @typedef {import("./types.js").Trace} Trace
 */

/** The application's own back end: a Dev Server, or a function of the application that asks it. */
export class BackEnd {
  #rest;
  #url;
  #register;

  /**
   * @param {object} options
   * @param {string | DevServer} [options.devServer]
   * @param {(registration: Registration) => Session | Promise<Session>} [options.register] replaces the Dev Server for
   *   registering
   * @param {(trace: Trace) => void} options.trace
   */
  constructor({ devServer, register, trace }) {
    const { url, headers, credentials = "same-origin" } = asObject(devServer);
    this.#url = url?.replace(/\/$/, "") ?? null;
    this.#rest = new Rest({
      trace,
      credentials,
      headers: typeof headers === "function" ? headers : () => headers ?? {},
    });
    this.#register = register ?? null;
  }

  /** @param {Partial<Identity>} identity @returns {Promise<Session>} */
  async register(identity) {
    if (this.#register) return this.#register({ ...identity, idempotencyKey: randomKey() });
    return (await this.#rest.send({ method: "POST", url: this.#sessionsUrl("register"), body: identity })).body;
  }

  /** @returns {Promise<Registered[]>} */
  async people() {
    const request = { method: "GET", url: this.#sessionsUrl("devServer"), budgetMs: 0, quiet: true };
    return (await this.#rest.send(request)).body.sessions;
  }

  /** @param {string} option that the application could have given */
  #sessionsUrl(option) {
    if (this.#url === null) throw new SbeError(`SbeClient needs the option \`${option}\` for this.`);
    return `${this.#url}/sessions`;
  }
}

/**
 * A Dev Server that is given as a string gets no cookies.
 *
 * @param {string | DevServer | undefined} devServer
 * @returns {Partial<DevServer>}
 */
function asObject(devServer) {
  return typeof devServer === "string" ? { url: devServer, credentials: "omit" } : (devServer ?? {});
}
