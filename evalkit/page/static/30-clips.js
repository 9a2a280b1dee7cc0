// The cards of chosen prompts.
{
  const found = evalkit.data("clips");
  if (found !== null) {
    const systems = evalkit.data("systems");
    for (const place of document.querySelectorAll(".clips-player")) {
      const sources = found.cards[Number(place.dataset.card)].map(({ system, key, scores }) => ({
        name: system === "reference" ? "Reference" : systems[system].name,
        key,
        scores,
      }));
      const caption = place.parentElement.querySelector(".clips-caption").textContent;
      evalkit.player(place, sources, { caption, columns: found.metrics });
    }
  }
}
