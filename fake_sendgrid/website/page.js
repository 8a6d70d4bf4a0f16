for (const part of document.querySelectorAll("[data-live]")) {
  const fresh = document.createElement("template");
  let shown = part.innerHTML;
  setInterval(async () => {
    if (document.hidden) return;
    try {
      const response = await fetch(part.dataset.live, {cache: "no-store"});
      document.body.classList.remove("is-away");
      if (!response.ok) return;
      // A change alone is shown, so that opened details stay open.
      fresh.innerHTML = await response.text();
      if (fresh.innerHTML === shown) return;
      shown = part.innerHTML = fresh.innerHTML;
    } catch {
      document.body.classList.add("is-away");
    }
  }, 1000);
}
