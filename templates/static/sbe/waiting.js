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
 * Run a task again and again, until the returned function is called. A run starts only after the one before has ended.
 * In Node, this alone does not keep the process alive.
 *
 * @param {number} ms
 * @param {() => Promise<unknown>} task whose errors are ignored: the next run tries again
 * @returns {() => void}
 */
export function every(ms, task) {
  let isRunning = false;
  const timer = setInterval(() => {
    if (isRunning) return;
    isRunning = true;
    task()
      .catch(() => undefined)
      .finally(() => (isRunning = false));
  }, ms);
  if (typeof timer === "object") /** @type {{unref?: () => void}} */ (timer).unref?.();
  return () => clearInterval(timer);
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
    if (this.#waiting >= this.#limit) return Promise.reject(new RangeError("too many tasks"));
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
