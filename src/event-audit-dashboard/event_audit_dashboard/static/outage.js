// Tries again until the page can be loaded, then reloads it. The browser keeps the position.
const retryMs = Number(document.getElementById("outage").dataset.retry) * 1000;

async function retry() {
  try {
    const answer = await fetch(window.location.href, { cache: "no-store", credentials: "same-origin" });
    if (answer.ok || answer.status === 404) return window.location.reload();
  } catch {
    // The dashboard does not respond: try again.
  }
  return setTimeout(retry, retryMs);
}

setTimeout(retry, retryMs);
