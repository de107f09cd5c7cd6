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

/**
 * JSON over HTTP, to the enabler or the Dev Server.
 *
 * While no answer arrives, a request is repeated within its budget. This is safe: GET and DELETE are idempotent by
 * definition (RFC 9110 section 9.2.2), and POST and PUT carry an `Idempotency-Key` that is the same in all attempts.
 */
export class Rest {
  /**
   * @param {object} options
   * @param {(trace: Trace) => void} options.trace
   */
  constructor({ trace }) {
    this.token = /** @type {string | null} */ (null);
    this.trace = trace;
  }

  /**
   * @param {Call} call
   * @returns {Promise<Reply>}
   * @throws {Refusal} when the answer is a problem document or any other error status
   * @throws {NetworkError} when the budget is used up without an answer
   */
  async send(call) {
    const key = call.method === "POST" || call.method === "PUT" ? randomKey() : null;
    const started = performance.now();
    const giveUpAt = started + (call.budgetMs ?? BUDGET_MS);
    for (let attempt = 0; ; attempt += 1) {
      try {
        const reply = await this.#once(call, key);
        this.#record(call, started, reply, null);
        return reply;
      } catch (error) {
        const wait = retryDelay(error, attempt);
        if (wait === null || performance.now() + wait > giveUpAt) {
          this.#record(call, started, null, error);
          throw error;
        }
        await sleep(wait);
      }
    }
  }

  /**
   * @param {Call} call
   * @param {string | null} key
   * @returns {Promise<Reply>}
   */
  async #once(call, key) {
    /** @type {Record<string, string>} */
    const headers = { Accept: "application/json, application/problem+json" };
    if (this.token) headers["Authorization"] = `Bearer ${this.token}`;
    if (call.action) headers["x-conference-action"] = call.action;
    if (call.body !== undefined) headers["Content-Type"] = "application/json";
    if (key) headers["Idempotency-Key"] = key;

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
        credentials: "omit",
        signal: AbortSignal.timeout(TIMEOUT_MS),
      });
      body = await readBody(response);
    } catch (cause) {
      throw new NetworkError("The server cannot be reached.", { cause });
    }
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
    const path = new URL(call.url, location.href).pathname;
    const refusal = error instanceof Refusal ? error : null;
    const sent = /** @type {Record<string, any> | undefined} */ (call.body);
    this.trace({
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
 * @param {Response} response
 * @param {any} body
 */
function refusalFrom(response, body) {
  const { code, detail, title, status: _status, type: _type, instance: _instance, ...fields } = body ?? {};
  const retryAfter = Number(response.headers.get("Retry-After"));
  if (retryAfter > 0 && fields.retryAfterMs === undefined) fields.retryAfterMs = retryAfter * 1000;
  return new Refusal({
    status: response.status,
    code: code ?? `http-${response.status}`,
    detail: detail ?? title ?? response.statusText,
    fields,
  });
}

/**
 * @param {unknown} error
 * @param {number} attempt
 * @returns {number | null} milliseconds, or null if another attempt is useless
 */
function retryDelay(error, attempt) {
  if (error instanceof NetworkError) return backOff(attempt, { capMs: 4_000 });
  if (!(error instanceof Refusal)) return null;
  const told = Number(error.fields.retryAfterMs);
  if (error.status === 429) return Number.isFinite(told) ? told + backOff(0) : backOff(attempt);
  // A gateway whose server is down answers without a code. A 503 of the enabler itself has a code and is final.
  if (GATEWAY_TROUBLE.has(error.status) && error.code.startsWith("http-")) return backOff(attempt, { capMs: 4_000 });
  return null;
}

// Not crypto.randomUUID: it exists only in secure contexts, and signalling must work on a plain-http LAN address too.
function randomKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** @param {string} path */
function shorten(path) {
  return path.replace(/\/[A-Za-z0-9_-]{20,}/g, (id) => `${id.slice(0, 7)}…`);
}
