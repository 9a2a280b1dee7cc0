"use strict";
// The theme that was chosen, before anything is drawn: a page must not flash.
try {
  const chosen = localStorage.getItem("evalkit-theme");
  if (chosen === "light" || chosen === "dark") {
    document.documentElement.dataset.theme = chosen;
  }
} catch {
  // not every browser lets a file remember things
}
