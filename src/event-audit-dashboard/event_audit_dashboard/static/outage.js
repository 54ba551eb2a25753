// Looks again until the page can be shown, then shows it.
const again = Number(document.getElementById("outage").dataset.again) * 1000;

async function look() {
  try {
    const answer = await fetch(window.location.href, { cache: "no-store", credentials: "same-origin" });
    if (answer.ok || answer.status === 404) return window.location.reload();
  } catch {
    // The dashboard itself is away: keep trying.
  }
  return setTimeout(look, again);
}

setTimeout(look, again);
