import { MediaError } from "../sbe/sbe-client.js";
import { byId, setText } from "./dom.js";
import { deniedWords } from "./words.js";

/**
 * @typedef {import("../sbe/media.js").LocalMedia} LocalMedia
 * @typedef {"retry" | "without" | "cancel"} Choice
 */

/**
 * Open the devices that a call needs. If some cannot be opened, ask the user once about all of them: try again, go on
 * without them, or cancel.
 *
 * @param {LocalMedia} media
 * @param {{camera: boolean}} wanted
 * @returns {Promise<boolean>} false if the user cancelled
 */
export async function openMedia(media, { camera }) {
  for (;;) {
    const errors = await tryMedia(media, { microphone: true, camera });
    if (errors.length === 0) return true;
    const choice = await ask(errors, { camera });
    if (choice === "without") return true;
    if (choice === "cancel") {
      media.closeAll();
      return false;
    }
  }
}

/**
 * Open devices. Those that work are open afterwards, even if another one fails.
 *
 * @param {LocalMedia} media
 * @param {{microphone: boolean, camera: boolean}} wanted
 * @returns {Promise<MediaError[]>} why the others cannot be opened
 */
export async function tryMedia(media, { microphone, camera }) {
  // Both at once, so that the browser can combine its questions.
  const attempts = [...(microphone ? [media.openMicrophone()] : []), ...(camera ? [media.openCamera()] : [])];
  const errors = [];
  for (const result of await Promise.allSettled(attempts)) {
    if (result.status === "fulfilled") continue;
    if (!(result.reason instanceof MediaError)) throw result.reason;
    errors.push(result.reason);
  }
  return errors;
}

/** @param {MediaError[]} errors @param {{camera: boolean}} wanted @returns {Promise<Choice>} */
function ask(errors, wanted) {
  const dialog = /** @type {HTMLDialogElement} */ (byId("media-dialog"));
  const { title, cause, consequence, without } = deniedWords(errors, wanted);
  setText(byId("media-title"), title);
  setText(byId("media-text"), cause);
  setText(byId("media-consequence"), consequence);
  setText(byId("media-without"), without);
  dialog.returnValue = "cancel";
  for (const choice of ["retry", "without", "cancel"]) byId(`media-${choice}`).onclick = () => dialog.close(choice);
  dialog.showModal();
  byId("media-retry").focus();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(/** @type {Choice} */ (dialog.returnValue)), { once: true });
  });
}
