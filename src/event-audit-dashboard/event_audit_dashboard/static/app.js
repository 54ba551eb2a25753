// Keyboard, command palette and menus of all pages. Pages add shortcuts with `addShortcut`.
import { refreshAll, setServerTime } from "./ago.js";
import { gettext } from "./texts.js";

const shortcuts = new Map();
let afterG = false;

export function addShortcut(key, description, run) {
  shortcuts.set(key, { description, run });
}

function isTyping(target) {
  return target.closest("textarea, select, [contenteditable], input:not([type=checkbox])") !== null;
}

function byKey(root, key) {
  return [...root.querySelectorAll("[data-key]")].find((element) => element.dataset.key === key);
}

function openMenu() {
  return document.querySelector("details.menu[open]");
}

// Runs the button or opens the menu with this key. Keys of the navigation need `g` first.
function activate(key) {
  const menu = openMenu();
  if (menu) {
    const item = byKey(menu.querySelector(".menu-items"), key);
    item?.click();
    return Boolean(item);
  }
  const element = [...document.querySelectorAll("main [data-key]")].find(
    (candidate) => candidate.dataset.key === key && !candidate.closest(".menu-items"),
  );
  if (!element) return false;
  if (element.matches("details")) {
    element.open = true;
    element.querySelector("summary").focus();
  } else element.click();
  return true;
}

function navigate(key) {
  const link = byKey(document.querySelector(".top nav"), key);
  link?.click();
  return Boolean(link);
}

function search() {
  const input = document.getElementById("q");
  if (input) input.focus();
  else document.querySelector(".top nav [data-key=a]").click();
}

function undo() {
  document.querySelector("#notices [data-undo] button")?.click();
}

addShortcut("/", gettext("Search"), search);
addShortcut("?", gettext("Show the keyboard shortcuts"), () => help());
addShortcut("u", gettext("Undo the last action"), undo);

document.addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.isComposing) return;
  if ((event.ctrlKey || event.metaKey) && !event.altKey && event.key.toLowerCase() === "k") {
    event.preventDefault();
    palette();
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  if (event.key === "Escape") {
    const menu = openMenu();
    if (menu) {
      menu.open = false;
      menu.querySelector("summary").focus();
    } else if (isTyping(event.target)) event.target.blur();
    return;
  }
  if (isTyping(event.target)) return;
  if (afterG) {
    afterG = false;
    if (navigate(event.key)) event.preventDefault();
    return;
  }
  if (event.key === "g") {
    afterG = true;
    setTimeout(() => { afterG = false; }, 1500);
    return;
  }
  if (activate(event.key)) {
    event.preventDefault();
    return;
  }
  const shortcut = shortcuts.get(event.key);
  if (shortcut) {
    event.preventDefault();
    shortcut.run();
  }
});

// Only one menu is open, and a click elsewhere closes it.
document.addEventListener("click", (event) => {
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    if (!menu.contains(event.target) || event.target.closest(".menu-items button")) menu.open = false;
  }
});

// The text and the keys of a button. In a menu, those of the menu come first: "Resolve: Benign", "e b".
function inMenu(button) {
  const menu = button.closest("details.menu");
  const name = menu?.querySelector("summary").firstChild.textContent.replace("…", "").trim();
  const text = button.firstChild.textContent.trim();
  const keys = button.dataset.key ? [menu?.dataset.key, button.dataset.key] : [];
  return { text: name ? `${name}: ${text}` : text, keys: keys.filter(Boolean).join(" ") };
}

function commands() {
  const pages = [...document.querySelectorAll(".top nav a")].map((link) => ({
    text: gettext("Go to %(page)s", { page: link.textContent.trim() }), keys: `g ${link.dataset.key}`, run: () => link.click(),
  }));
  const buttons = [...document.querySelectorAll("main button[data-key], main button[name=do]")]
    .map((button) => ({ ...inMenu(button), run: () => button.click() }));
  const others = [...shortcuts].map(([key, { description, run }]) => ({ text: description, keys: key, run }));
  const views = [...document.querySelectorAll(".tabs a:not([data-saved])")].map((link) => ({
    text: gettext("View: %(name)s", { name: link.textContent.trim() }), keys: "", run: () => link.click(),
  }));
  return [...pages, ...views, ...buttons, ...others];
}

// The saved views, from the server. Without them, the palette has the other commands.
async function savedViews() {
  try {
    const response = await fetch(document.getElementById("palette").dataset.views, { credentials: "same-origin" });
    const views = response.ok ? await response.json() : [];
    return views.map(({ name, url }) => ({ text: gettext("Saved view: %(name)s", { name }), keys: "", run: () => window.location.assign(url) }));
  } catch {
    return [];
  }
}

function palette() {
  const dialog = document.getElementById("palette");
  const input = document.getElementById("palette-input");
  const list = document.getElementById("palette-list");
  const all = commands();
  let selected = 0;
  let shown = [];
  savedViews().then((views) => {
    all.push(...views);
    if (dialog.open) render();
  });

  function render() {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    shown = all.filter(({ text }) => words.every((word) => text.toLowerCase().includes(word)));
    selected = Math.min(selected, Math.max(0, shown.length - 1));
    list.replaceChildren(...shown.map(({ text, keys }, index) => {
      const item = document.createElement("li");
      item.id = `command-${index}`;
      item.role = "option";
      item.setAttribute("aria-selected", String(index === selected));
      item.append(text);
      const kbd = document.createElement("kbd");
      kbd.textContent = keys;
      if (keys) item.append(kbd);
      item.addEventListener("click", () => run(index));
      return item;
    }));
    input.setAttribute("aria-activedescendant", shown.length ? `command-${selected}` : "");
    list.children[selected]?.scrollIntoView({ block: "nearest" });
  }

  function run(index) {
    dialog.close();
    shown[index]?.run();
  }

  input.value = "";
  input.oninput = () => { selected = 0; render(); };
  input.onkeydown = (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) {
      event.preventDefault();
      selected = Math.max(0, Math.min(shown.length - 1, selected + step));
      render();
    } else if (event.key === "Enter") {
      event.preventDefault();
      run(selected);
    }
  };
  render();
  dialog.showModal();
  input.focus();
}

function help() {
  const dialog = document.getElementById("help");
  const body = document.getElementById("help-body");
  const list = document.createElement("dl");
  for (const { text, keys } of commands().filter((command) => command.keys)) {
    const row = document.createElement("div");
    const term = document.createElement("dt");
    const kbd = document.createElement("kbd");
    kbd.textContent = keys;
    term.append(kbd);
    const description = document.createElement("dd");
    description.textContent = text;
    row.append(term, description);
    list.append(row);
  }
  body.replaceChildren(list);
  dialog.showModal();
}

document.getElementById("palette-open")?.addEventListener("click", palette);

const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
if (zone && !document.cookie.includes(`auditflow-zone=${zone}`)) {
  const secure = window.location.protocol === "https:" ? "; Secure" : "";
  document.cookie = `auditflow-zone=${zone}; Path=/; Max-Age=31536000; SameSite=Lax${secure}`;
}

// Copies the complete record of an event, also where the page shows only its beginning.
document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  try {
    const response = await fetch(button.dataset.copy, { credentials: "same-origin" });
    if (!response.ok) throw new Error(response.statusText);
    await navigator.clipboard.writeText(await response.text());
    button.textContent = gettext("Copied");
  } catch {
    button.textContent = gettext("Copying failed. Use \"Download\".");
  }
  setTimeout(() => { button.textContent = gettext("Copy"); }, 2500);
});

// On a phone, the navigation scrolls: show the current page in it.
document.querySelector(".top nav [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });

const dated = document.querySelector("[data-now]");
if (dated) setServerTime(dated.dataset.now);
setInterval(refreshAll, 1000);
