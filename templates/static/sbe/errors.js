/*
 * SbeError
 * ├── Refusal        the enabler refused a request (RFC 9457 problem document)
 * ├── NetworkError   no answer arrived, after several attempts
 * ├── SessionOver    this registration has ended; register again
 * ├── CallOver       the call ended here, or was moved, while an action was in progress
 * └── MediaError     a camera, microphone or screen could not be opened
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
   * @param {Record<string, unknown>} [problem.fields] values that a client needs to continue, such as `retryAfterMs`
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
   * Return the error for a failure of `getUserMedia` (Media Capture and Streams, section 9.2). Each `reason` has a
   * different remedy.
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
