/* Waits and queues, each with a bound. */

/**
 * @param {number} ms
 * @param {AbortSignal} [signal] ends the wait early, without an error
 * @returns {Promise<void>}
 */
export function sleep(ms, signal) {
  return new Promise((resolve) => {
    if (signal?.aborted) return resolve();
    const done = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal?.addEventListener("abort", done);
  });
}

/**
 * Return a random delay between zero and a limit that doubles with each attempt (exponential back-off with full
 * jitter). The randomness spreads out the reconnections to a restarted server.
 *
 * @param {number} attempt counted from 0
 * @param {{baseMs?: number, capMs?: number}} [options]
 */
export function backOff(attempt, { baseMs = 400, capMs = 10_000 } = {}) {
  return Math.random() * Math.min(capMs, baseMs * 2 ** Math.min(attempt, 16));
}

/** Runs tasks one at a time, first in, first out. */
export class SerialQueue {
  #tail = Promise.resolve();
  #waiting = 0;
  #limit;

  /** @param {number} limit of waiting tasks; more are refused */
  constructor(limit) {
    this.#limit = limit;
  }

  get length() {
    return this.#waiting;
  }

  /**
   * @template T
   * @param {() => Promise<T> | T} task must not await `run` of this queue: it would wait for itself
   * @returns {Promise<T>}
   */
  run(task) {
    if (this.#waiting >= this.#limit) return Promise.reject(new RangeError("too many tasks are waiting"));
    this.#waiting += 1;
    const result = this.#tail.then(task).finally(() => {
      this.#waiting -= 1;
    });
    this.#tail = result.then(
      () => undefined,
      () => undefined,
    );
    return result;
  }
}
