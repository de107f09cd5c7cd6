import { NetworkError, Refusal } from "./errors.js";
import { backOff, sleep } from "./waiting.js";

/**
 * @typedef {import("./types.js").Trace} Trace
 * @typedef {import("./types.js").Description} Description
 *
 * @typedef {object} Call
 * @property {string} method
 * @property {string} url
 * @property {string} [action] value of `x-conference-action`
 * @property {unknown} [body]
 * @property {number} [budgetMs] how long to repeat the request while no answer arrives
 * @property {boolean} [quiet] keep it out of the timeline
 *
 * @typedef {{status: number, headers: Headers, body: any}} Reply
 */

const TIMEOUT_MS = 8_000;
const BUDGET_MS = 20_000;
const GATEWAY_TROUBLE = new Set([502, 503, 504]);
// The Dev Server is not configured. Every other 502, 503 or 504 of a server or a gateway is likely to pass.
const FINAL_CODES = new Set(["503 api-key-missing", "503 enabler-unreachable"]);

/**
 * JSON over HTTP, to the enabler or the Dev Server.
 *
 * While no answer arrives, or a server or gateway says that it cannot serve now (429, 502, 503, 504), a request is
 * repeated within its budget. This is safe: GET and DELETE are idempotent by definition (RFC 9110 section 9.2.2), and
 * POST and PUT carry an `Idempotency-Key` that is the same in all attempts.
 */
export class Rest {
  /** The token of the session, which every request then carries. @type {string | null} */
  token = null;
  #trace;
  #headers;
  #credentials;
  #onAnswer;
  #onFailure;
  #renew;

  /**
   * @param {object} options
   * @param {(trace: Trace) => void} options.trace
   * @param {() => HeadersInit | Promise<HeadersInit>} [options.headers] further headers, asked for before each attempt
   * @param {RequestCredentials} [options.credentials] whether requests carry cookies
   * @param {() => void} [options.onAnswer] called after every answer of the server itself
   * @param {(url: string) => void} [options.onFailure] called when a request failed before an answer
   * @param {(token: string) => Promise<unknown>} [options.renew] called when a token was refused; replaces `token`, if
   *   it can
   */
  constructor({
    trace,
    headers = () => ({}),
    credentials = "omit",
    onAnswer = () => undefined,
    onFailure = () => undefined,
    renew = async () => undefined,
  }) {
    this.#trace = trace;
    this.#headers = headers;
    this.#credentials = credentials;
    this.#onAnswer = onAnswer;
    this.#onFailure = onFailure;
    this.#renew = renew;
  }

  /**
   * Send a request. If its token is refused, and there is a new one, send it once more.
   *
   * @param {Call} call
   * @returns {Promise<Reply>}
   * @throws {Refusal} when the answer is a problem document or any other error status
   * @throws {NetworkError} when the budget is used up without an answer
   */
  async send(call) {
    const { token } = this;
    try {
      return await this.#persist(call);
    } catch (error) {
      // A request about the ended session itself would not concern the new one.
      if (!token || !(error instanceof Refusal && error.status === 401) || /\/sessions\//.test(call.url)) throw error;
      await this.#renew(token);
      if (!this.token || this.token === token) throw error;
      return this.#persist(call);
    }
  }

  /** Repeat a request within its budget. @param {Call} call @returns {Promise<Reply>} */
  async #persist(call) {
    const key = call.method === "POST" || call.method === "PUT" ? randomKey() : null;
    const started = performance.now();
    const left = () => started + (call.budgetMs ?? BUDGET_MS) - performance.now();
    for (let attempt = 0; ; attempt += 1) {
      try {
        // The first attempt may exceed the budget, which limits only the repetitions.
        const reply = await this.#once(call, key, attempt === 0 ? TIMEOUT_MS : Math.min(TIMEOUT_MS, left()));
        this.#record(call, started, reply, null);
        return reply;
      } catch (error) {
        const wait = retryDelay(error, attempt);
        if (wait !== null && wait < left()) await sleep(wait);
        else return this.#giveUp(call, started, error);
        // The computer may have slept meanwhile.
        if (left() <= 0) return this.#giveUp(call, started, error);
      }
    }
  }

  /**
   * @param {Call} call
   * @param {number} started
   * @param {unknown} error
   * @returns {never}
   */
  #giveUp(call, started, error) {
    this.#record(call, started, null, error);
    throw error;
  }

  /**
   * @param {Call} call
   * @param {string | null} key
   * @param {number} timeoutMs
   * @returns {Promise<Reply>}
   */
  async #once(call, key, timeoutMs) {
    const headers = new Headers(await this.#headers());
    headers.set("Accept", "application/json, application/problem+json");
    if (this.token) headers.set("Authorization", `Bearer ${this.token}`);
    if (call.action) headers.set("x-conference-action", call.action);
    if (call.body !== undefined) headers.set("Content-Type", "application/json");
    if (key) headers.set("Idempotency-Key", key);

    /** @type {Response} */
    let response;
    /** @type {any} */
    let body;
    try {
      response = await fetch(call.url, {
        method: call.method,
        headers,
        body: call.body === undefined ? undefined : JSON.stringify(call.body),
        cache: "no-store",
        credentials: this.#credentials,
        signal: AbortSignal.timeout(Math.max(1, Math.ceil(timeoutMs))),
      });
      body = await readBody(response);
    } catch (cause) {
      // Browsers report a missing CORS header as a TypeError.
      if (cause instanceof TypeError) this.#onFailure(call.url);
      throw new NetworkError("The server cannot be reached.", { cause });
    }
    // Any other answer may come from a gateway.
    if (response.ok || body?.code) this.#onAnswer();
    if (!response.ok) throw refusalFrom(response, body);
    return { status: response.status, headers: response.headers, body };
  }

  /**
   * @param {Call} call
   * @param {number} started
   * @param {Reply | null} reply
   * @param {unknown} error
   */
  #record(call, started, reply, error) {
    if (call.quiet) return;
    const path = new URL(call.url, globalThis.location?.href).pathname;
    const refusal = error instanceof Refusal ? error : null;
    const sent = /** @type {Record<string, any> | undefined} */ (call.body);
    this.#trace({
      sort: "request",
      direction: "out",
      at: new Date(),
      title: call.action ?? `${call.method} ${shorten(path)}`,
      status: reply?.status ?? refusal?.status,
      state:
        reply?.headers.get("x-state") ??
        reply?.body?.outcome ??
        reply?.body?.state ??
        refusal?.code ??
        (error ? "no answer" : undefined),
      modId: reply?.headers.get("x-mod-id") ?? sent?.modId ?? undefined,
      tookMs: performance.now() - started,
      failed: error !== null,
      description: sent?.sdp ? { type: sent.type, sdp: sent.sdp } : undefined,
      detail: {
        request: `${call.method} ${path}`,
        correlator: reply?.headers.get("x-correlator") ?? undefined,
        ...(refusal ? { problem: { code: refusal.code, detail: refusal.detail, ...refusal.fields } } : {}),
        ...(reply?.body && !reply.body.token ? { answer: reply.body } : {}),
      },
    });
  }
}

/** @param {Response} response */
async function readBody(response) {
  const text = await response.text();
  if (!/\bjson\b/.test(response.headers.get("Content-Type") ?? "")) return null;
  return text ? JSON.parse(text) : null;
}

/**
 * Return the refusal of an answer. A gateway's answer may have any body.
 *
 * @param {Response} response
 * @param {any} body
 */
function refusalFrom(response, body) {
  const problem = body !== null && typeof body === "object" && !Array.isArray(body) ? body : {};
  const { code, detail, title, status: _status, type: _type, instance: _instance, ...fields } = problem;
  const retryAfterMs = fields.retryAfterMs ?? retryAfterOf(response);
  if (retryAfterMs !== null) fields.retryAfterMs = retryAfterMs;
  return new Refusal({
    status: response.status,
    code: typeof code === "string" ? code : `http-${response.status}`,
    detail: String(detail ?? title ?? response.statusText),
    fields,
  });
}

/**
 * Return the delay of `Retry-After` (RFC 9110 section 10.2.3), which is a number of seconds or a date.
 *
 * @param {Response} response
 * @returns {number | null} milliseconds; null if there is no such header, or if its time has passed
 */
export function retryAfterOf({ headers }) {
  const value = headers.get("Retry-After") ?? "";
  if (/^\s*\d+\s*$/.test(value)) return Number(value) * 1000 || null;
  // Compare with the server's clock if the server tells it: the clock of this computer may be wrong.
  const now = Date.parse(headers.get("Date") ?? "") || Date.now();
  const wait = Date.parse(value) - now;
  return wait > 0 ? wait : null;
}

/**
 * @param {unknown} error
 * @param {number} attempt
 * @returns {number | null} milliseconds, or null if another attempt is useless
 */
function retryDelay(error, attempt) {
  if (!isTransient(error)) return null;
  const told = error instanceof Refusal ? Number(error.fields.retryAfterMs) : 0;
  return told > 0 ? told + backOff(0) : backOff(attempt, { capMs: 4_000 });
}

/** @param {unknown} error */
function isTransient(error) {
  if (!(error instanceof Refusal)) return error instanceof NetworkError;
  // A host's denial is no overload. The user should know of it at once.
  if (error.status === 429) return error.fields.reason !== "denied";
  return GATEWAY_TROUBLE.has(error.status) && !FINAL_CODES.has(`${error.status} ${error.code}`);
}

// Not crypto.randomUUID: it exists only in secure contexts, and signalling must work on a plain-http LAN address too.
export function randomKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** @param {string} path */
function shorten(path) {
  return path.replace(/\/[A-Za-z0-9_-]{20,}/g, (id) => `${id.slice(0, 7)}…`);
}
