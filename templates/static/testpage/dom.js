/**
 * Return the element with an ID. The page and its scripts belong together, so a missing element is a bug.
 *
 * @template {Element} [T=HTMLElement]
 * @param {string} id
 * @returns {T}
 */
export function byId(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`The page has no #${id}.`);
  return /** @type {T} */ (/** @type {unknown} */ (found));
}

/**
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Record<string, string | undefined>} [attributes]
 * @param {...(Node | string)} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) if (value !== undefined) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

const SVG = "http://www.w3.org/2000/svg";

/**
 * @param {string} tag
 * @param {Record<string, string>} attributes
 */
export function makeSvg(tag, attributes) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

/** @param {string} name of a symbol in icons.svg */
export function icon(name) {
  const svg = makeSvg("svg", { "class": "icon", "aria-hidden": "true" });
  svg.append(makeSvg("use", { href: iconUrl(name) }));
  return svg;
}

/** Return the icon for a device, by its label. @param {string} label */
export function deviceIcon(label) {
  if (/phone|mobile|handy|android|pixel|galaxy/i.test(label)) return "smartphone";
  return /tablet|ipad/i.test(label) ? "tablet" : "device";
}

/** @param {Element} holder that has an svg icon @param {string} name */
export function setIcon(holder, name) {
  const use = holder.querySelector("use");
  if (use?.getAttribute("href") !== iconUrl(name)) use?.setAttribute("href", iconUrl(name));
}

/** @param {string} name */
function iconUrl(name) {
  return `${document.body.dataset.iconsUrl}#${name}`;
}

/**
 * Set a text only if it differs, so that a live region does not repeat it and a selection survives.
 *
 * @param {Element} element @param {string} text
 */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/**
 * Show these children in this order. Those that stay are not moved, so that a focus or a click in progress survives.
 *
 * @param {Element} list @param {Element[]} children
 */
export function showChildren(list, children) {
  for (const child of [...list.children]) if (!children.includes(child)) child.remove();
  children.forEach((child, at) => {
    if (list.children[at] !== child) list.insertBefore(child, list.children[at] ?? null);
  });
}

/** @param {HTMLVideoElement} video @param {(MediaStreamTrack | null)[]} tracks */
export function showTracks(video, tracks) {
  const wanted = tracks.filter((track) => track !== null);
  const shown = video.srcObject instanceof MediaStream ? video.srcObject.getTracks() : [];
  if (wanted.length === shown.length && wanted.every((track) => shown.includes(track))) return;
  video.srcObject = wanted.length > 0 ? new MediaStream(wanted) : null;
}

/** Return the initials of a name, without an addition in parentheses. @param {string} name */
export function initials(name) {
  const words = name
    .replace(/(?<=\S)\s*\(.*\)$/, "")
    .trim()
    .split(/[\s._-]+/)
    .filter(Boolean);
  const letters = words.length > 1 ? [words[0], words[words.length - 1]] : [words[0] ?? "?"];
  return letters.map((word) => [...word][0]).join("");
}
