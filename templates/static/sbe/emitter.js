/**
 * An EventTarget with type-checked events and payloads.
 *
 * @template {Record<string, unknown>} Events
 */
export class Emitter {
  #target = new EventTarget();

  /**
   * Call `listener` with each payload of `type`. Return a function that stops this.
   *
   * @template {keyof Events & string} T
   * @param {T} type
   * @param {(payload: Events[T]) => void} listener
   * @returns {() => void}
   */
  on(type, listener) {
    const wrapped = (/** @type {Event} */ event) => listener(/** @type {CustomEvent<Events[T]>} */ (event).detail);
    this.#target.addEventListener(type, wrapped);
    return () => this.#target.removeEventListener(type, wrapped);
  }

  /**
   * @template {keyof Events & string} T
   * @param {T} type
   * @param {Events[T]} payload
   */
  emit(type, payload) {
    this.#target.dispatchEvent(new CustomEvent(type, { detail: payload }));
  }
}
