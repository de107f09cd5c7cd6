import { Refusal } from "../sbe/sbe-client.js";
import { byId, setText } from "./dom.js";
import { errorWords, fieldWords } from "./words.js";

/** @typedef {import("../sbe/sbe-client.js").SbeClient} SbeClient */

const FIELDS = ["username", "device", "vtn", "icmn"];

/** The form that registers this browser, filled in from the page's address. */
export class Registration {
  #form = /** @type {HTMLFormElement} */ (byId("register-form"));
  #query = new URLSearchParams(location.search);

  /**
   * @param {SbeClient} client
   * @param {(error: unknown) => void} onTrouble shows an error that belongs to no field
   */
  constructor(client, onTrouble) {
    this.client = client;
    this.onTrouble = onTrouble;
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.#register();
    });
  }

  /** Register without the user's help, if the tab was registered before or the address names a user. */
  async start() {
    this.#fillIn();
    const user = this.#query.get("user");
    const { remembered } = this.client;
    if (remembered !== null && this.#isSame(remembered, user)) {
      try {
        if (await this.client.restore()) return;
        // The session of an idle page ends when the page closes. Register the same user again.
        return await this.client.register(remembered);
      } catch (error) {
        this.onTrouble(error);
      }
    }
    if (user) await this.#register();
  }

  /**
   * Whether the page's address names the same user and device, or none.
   *
   * @param {import("../sbe/client.js").Identity} remembered
   * @param {string | null} user
   */
  #isSame({ username, device = "" }, user) {
    return (user === null || user === username) && [null, device].includes(this.#query.get("device"));
  }

  #fillIn() {
    for (const [key, name] of Object.entries({ user: "username", device: "device", vtn: "vtn", icmn: "icmn" })) {
      // An unescaped plus in a query arrives as a space. Before a digit, it must have been a plus.
      this.#input(name).value = (this.#query.get(key) ?? "").replace(/^ (?=\d)/, "+");
    }
    /** @type {HTMLInputElement} */ (byId("register-device")).placeholder = guessDevice();
  }

  async #register() {
    const field = (/** @type {string} */ name) => String(new FormData(this.#form).get(name) ?? "").trim();
    const submit = /** @type {HTMLButtonElement} */ (byId("register-submit"));
    this.#showRefusal({});
    if (!field("username")) return this.#showRefusal({ username: "Enter a name." });
    submit.disabled = true;
    try {
      await this.client.register({
        username: field("username"),
        device: field("device") || guessDevice(),
        ...(field("vtn") ? { vtn: field("vtn") } : {}),
        ...(field("icmn") ? { icmn: field("icmn") } : {}),
      });
    } catch (error) {
      const errors = error instanceof Refusal ? fieldWords(error) : {};
      this.#showRefusal(Object.keys(errors).length > 0 ? errors : { form: errorWords(error) });
    } finally {
      submit.disabled = false;
    }
  }

  /** @param {Record<string, string>} words the errors by field; those of no field are under `form` */
  #showRefusal(words) {
    showError(byId("register-error"), words["form"]);
    for (const name of FIELDS) {
      showError(byId(`${name}-error`), words[name]);
      this.#input(name).setAttribute("aria-invalid", String(words[name] !== undefined));
    }
    const first = FIELDS.find((name) => words[name] !== undefined);
    if (first === undefined) return;
    const folded = this.#input(first).closest("details");
    if (folded) folded.open = true;
    this.#input(first).focus();
  }

  /** @param {string} name */
  #input(name) {
    return /** @type {HTMLInputElement} */ (this.#form.elements.namedItem(name));
  }
}

/** @param {HTMLElement} place @param {string | undefined} text */
function showError(place, text) {
  setText(place, text ?? "");
  place.hidden = text === undefined;
}

/** Return a name for this device. */
export function guessDevice() {
  if (/iPad|Tablet/.test(navigator.userAgent)) return "tablet";
  return /Mobi|Android|iPhone/.test(navigator.userAgent) ? "phone" : "computer";
}
