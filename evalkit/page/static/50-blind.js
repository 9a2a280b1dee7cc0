{
  // Names of systems, and all numbers, hidden until a button shows them. What is hidden is body[data-blind]'s to say in
  // CSS, so that a page that was made blind is so before any script runs; scripts hear of changes by an event.

  const place = document.getElementById("page-blind");
  const button = document.createElement("button");
  button.type = "button";

  const say = () => {
    const blind = evalkit.blind();
    button.textContent = blind ? "Reveal" : "Blind";
    button.title = blind
      ? "Show names of systems and all numbers"
      : "Hide names of systems and all numbers, and listen";
  };

  button.addEventListener("click", () => {
    if (evalkit.blind()) {
      delete document.body.dataset.blind;
    } else {
      document.body.dataset.blind = "";
    }
    say();
    document.dispatchEvent(new CustomEvent("evalkit:blind"));
  });

  if (place !== null) {
    say();
    place.append(button);
  }
}
