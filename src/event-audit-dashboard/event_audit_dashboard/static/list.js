// The alert list: current row, selection, and live updates. Rows never move by themselves.
import { addShortcut } from "./app.js";
import { poll } from "./poll.js";
import { gettext, ngettext } from "./texts.js";

let currentId = null;
let currentIndex = 0;

const form = () => document.getElementById("bulk");
const rows = () => [...document.querySelectorAll("#rows > tr")];
const boxes = () => [...document.querySelectorAll("#rows input[name=id]")];
const current = () => document.getElementById(currentId ?? "") ?? null;

function select(row) {
  for (const other of document.querySelectorAll("#rows > tr.current")) other.classList.remove("current");
  if (!row) return;
  row.classList.add("current");
  currentId = row.id;
  currentIndex = rows().indexOf(row);
  row.querySelector(".title").focus({ preventScroll: true });
  row.scrollIntoView({ block: "nearest" });
}

function move(step) {
  const all = rows();
  if (!all.length) return;
  const row = current();
  const index = row ? all.indexOf(row) + step : 0;
  select(all[Math.max(0, Math.min(all.length - 1, index))]);
}

function showSelection() {
  const picked = boxes().filter((box) => box.checked).length;
  const all = document.getElementById("pick-all");
  if (!all) return;
  form().classList.toggle("has-selection", picked > 0);
  all.checked = picked > 0 && picked === boxes().length;
  all.indeterminate = picked > 0 && picked < boxes().length;
  document.getElementById("picked").textContent = picked
    ? gettext("%(count)s selected", { count: picked }) : gettext("Select all");
}

addShortcut("j", gettext("Next alert"), () => move(1));
addShortcut("k", gettext("Previous alert"), () => move(-1));
addShortcut("o", gettext("Open the alert"), () => current()?.querySelector(".title").click());
addShortcut("x", gettext("Select the alert"), () => {
  const box = current()?.querySelector("input[name=id]");
  if (!box) return;
  box.checked = !box.checked;
  showSelection();
});
addShortcut("n", gettext("Show new alerts"), () => {
  if (!document.getElementById("new-alerts").hidden) document.querySelector("[data-refresh]").click();
});

document.addEventListener("change", (event) => {
  if (event.target.id === "pick-all") {
    for (const box of boxes()) box.checked = event.target.checked;
  }
  if (event.target.closest("#bulk")) showSelection();
});

document.addEventListener("focusin", (event) => {
  const row = event.target.closest?.("#rows > tr");
  if (row && row.id !== currentId) {
    for (const other of document.querySelectorAll("#rows > tr.current")) other.classList.remove("current");
    row.classList.add("current");
    currentId = row.id;
    currentIndex = rows().indexOf(row);
  }
});

// Without a selection, an action applies to the current row.
document.addEventListener("click", (event) => {
  if (!event.target.closest("#bulk button[name=do]")) return;
  if (boxes().some((box) => box.checked)) return;
  const box = current()?.querySelector("input[name=id]");
  if (box) box.checked = true;
}, { capture: true });

document.addEventListener("htmx:after:swap", (event) => {
  if (event.detail?.ctx?.target?.id !== "results" || !form()) return;
  for (const box of boxes()) box.checked = false;
  showSelection();
  // The comment was stored with the action. The next action needs one of its own.
  if (!document.querySelector("#notices .notice-bad")) {
    for (const field of document.querySelectorAll("#bulk-comment, #bulk-assignee")) field.value = "";
  }
  if (currentId) select(current() ?? rows()[Math.min(currentIndex, rows().length - 1)]);
  live?.reset();
  document.getElementById("facets")?.dispatchEvent(new Event("refresh"));
});

// Updates the rows that are shown, and counts the others. No row is added, removed or moved.
async function merge(response) {
  const incoming = new DOMParser().parseFromString(await response.text(), "text/html");
  let added = 0;
  for (const row of incoming.querySelectorAll("tr[id]")) {
    const known = document.getElementById(row.id);
    if (!known) added += 1;
    else update(known, row);
  }
  if (added && !document.getElementById("rows")) {
    window.location.reload(); // The list was empty: no row can move.
    return;
  }
  const notice = document.getElementById("new-alerts");
  if (!notice) return;
  const text = ngettext("%(count)s new alert", "%(count)s new alerts", added);
  if (added && document.getElementById("new-count").textContent !== text) {
    document.getElementById("new-count").textContent = text;
    document.getElementById("announcer").textContent = text;
  }
  notice.hidden = added === 0;
}

function update(known, row) {
  const cells = [...row.children];
  for (const [index, cell] of [...known.children].entries()) {
    const other = cells[index];
    if (cell.classList.contains("c-pick")) continue;
    const age = other.querySelector("time[data-ago]");
    const knownAge = cell.querySelector("time[data-ago]");
    if (age && knownAge) age.textContent = knownAge.textContent;
    if (!cell.isEqualNode(other)) {
      const focused = cell.contains(document.activeElement) && document.activeElement.id;
      cell.replaceWith(document.importNode(other, true));
      if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
      known.classList.add("is-changed");
    }
  }
}

const state = document.getElementById("live-state");
const live = state?.dataset.on === "1"
  ? poll({
    url: () => state.dataset.url,
    intervalMs: 1500,
    etag: `"${state.dataset.etag}"`,
    state,
    label: document.getElementById("live-words"),
    onChange: merge,
  })
  : null;
showSelection();
