import type { SbeCall, SbeCallEvents } from "./sbe-call.js";

export { SbeCall };
export type { SbeCallEvents };

type CustomEvents = { [Type in keyof SbeCallEvents]: CustomEvent<SbeCallEvents[Type]> };

declare global {
  interface HTMLElementTagNameMap {
    "sbe-call": SbeCall;
  }
  interface HTMLElementEventMap extends CustomEvents {}
}
