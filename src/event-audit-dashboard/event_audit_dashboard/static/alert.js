// The page of an alert: live updates, and records that open below their event.
import { addShortcut } from "./app.js";
import { poll } from "./poll.js";
import { gettext } from "./texts.js";

addShortcut("b", gettext("Back to the list"), () => document.getElementById("back").click());
addShortcut("c", gettext("Comment"), () => document.getElementById("comment")?.focus());

// A second click closes a record.
document.addEventListener("click", (event) => {
  const link = event.target.closest("[data-toggle]");
  const cell = link && document.getElementById(link.dataset.toggle);
  if (!cell?.hasChildNodes()) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  cell.replaceChildren();
}, { capture: true });

// A comment that was stored is removed from its field. After an error it stays.
document.addEventListener("htmx:after:swap", (event) => {
  const isComment = event.detail?.ctx?.sourceElement?.matches?.("form.comment");
  if (isComment && !document.querySelector("#notices .notice-bad")) document.getElementById("comment").value = "";
});

const live = document.getElementById("live");
const label = document.getElementById("live-words");
if (live && label) {
  poll({
    url: () => label.parentElement.dataset.url,
    intervalMs: 2000,
    etag: `"${label.parentElement.dataset.etag}"`,
    state: label.parentElement,
    label,
    onChange: async () => {
      live.dispatchEvent(new Event("refresh"));
      for (const part of document.querySelectorAll("[data-lazy]")) part.dispatchEvent(new Event("refresh"));
    },
  });
}
