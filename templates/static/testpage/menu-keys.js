/**
 * Move the focus in an open menu with the arrow keys, Home and End. Tab closes the menu.
 *
 * @param {KeyboardEvent} event
 * @param {HTMLElement[]} items that can be chosen
 * @param {() => void} close
 */
export function moveInMenu(event, items, close) {
  const at = items.findIndex((item) => item === document.activeElement);
  const next = { ArrowDown: at + 1, ArrowUp: at - 1 + items.length, Home: 0, End: items.length - 1 }[event.key];
  if (event.key === "Tab") close();
  if (next === undefined) return;
  event.preventDefault();
  items[next % items.length]?.focus();
}
