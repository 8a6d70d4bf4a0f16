for (const part of document.querySelectorAll("[data-live]")) {
  let shown = null;
  setInterval(async () => {
    if (document.hidden) return;
    try {
      const response = await fetch(part.dataset.live, {cache: "no-store"});
      document.body.classList.remove("is-away");
      if (!response.ok) return;
      const text = await response.text();
      if (shown !== null && text !== shown) part.innerHTML = text;
      shown = text;
    } catch { document.body.classList.add("is-away"); }
  }, 1000);
}
