/*
 * SbeError
 * ├── Refusal        the enabler understood and said no (RFC 9457 problem document)
 * ├── NetworkError   no answer came, however often it was asked
 * ├── SessionOver    this registration is gone; register again
 * ├── CallOver       what was under way when the call ended here, or was moved, is over with it
 * └── MediaError     a camera, microphone or screen could not be had
 */

export class SbeError extends Error {
  /** @param {string} message @param {ErrorOptions} [options] */
  constructor(message, options) {
    super(message, options);
    this.name = new.target.name;
  }
}

export class Refusal extends SbeError {
  /**
   * @param {object} problem
   * @param {number} problem.status
   * @param {string} problem.code stable, for programs
   * @param {string} problem.detail for people
   * @param {Record<string, unknown>} [problem.fields] what a client needs to go on, such as `modId` and `retryAfterMs`
   */
  constructor({ status, code, detail, fields = {} }) {
    super(detail || code);
    this.status = status;
    this.code = code;
    this.detail = detail;
    this.fields = fields;
  }
}

export class NetworkError extends SbeError {}

export class SessionOver extends SbeError {}

export class CallOver extends SbeError {
  constructor() {
    super("The call is over.");
  }
}

export class MediaError extends SbeError {
  /**
   * @param {"camera" | "microphone" | "screen"} device
   * @param {"refused" | "missing" | "busy" | "failed"} reason
   * @param {unknown} cause
   */
  constructor(device, reason, cause) {
    super(`${device}: ${reason}`, { cause });
    this.device = device;
    this.reason = reason;
  }

  /**
   * This function will name a `getUserMedia` failure by what a person can do about it
   * (Media Capture and Streams, section 9.2).
   *
   * @param {"camera" | "microphone" | "screen"} device
   * @param {unknown} cause
   */
  static from(device, cause) {
    const name = cause instanceof Error ? cause.name : "";
    if (name === "NotAllowedError" || name === "SecurityError") return new MediaError(device, "refused", cause);
    if (name === "NotFoundError" || name === "OverconstrainedError") return new MediaError(device, "missing", cause);
    if (name === "NotReadableError" || name === "AbortError") return new MediaError(device, "busy", cause);
    return new MediaError(device, "failed", cause);
  }
}
