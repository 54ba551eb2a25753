// Runs before the first paint, so that the page does not flash in the wrong theme. The browser stores
// the selected theme; "auto" follows the system.
(() => {
  const root = document.documentElement;
  const order = ["auto", "light", "dark"];
  const read = () => {
    try {
      const stored = localStorage.getItem("auditflow-theme");
      return order.includes(stored) ? stored : "auto";
    } catch {
      return "auto";
    }
  };
  const show = (theme) => {
    if (theme === "auto") delete root.dataset.theme;
    else root.dataset.theme = theme;
    const name = document.getElementById("theme-name");
    if (name) name.textContent = name.dataset[theme];
  };
  root.classList.add("scripted");
  show(read());
  document.addEventListener("DOMContentLoaded", () => {
    show(read());
    document.getElementById("theme")?.addEventListener("click", () => {
      const next = order[(order.indexOf(read()) + 1) % order.length];
      try {
        localStorage.setItem("auditflow-theme", next);
      } catch {
        // A private window may not store it. The theme then applies to this page only.
      }
      show(next);
    });
  });
})();
