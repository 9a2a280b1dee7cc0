"use strict";
// Everything that the page's scripts share.
const evalkit = {
  // what a section has left for scripts under a name; null where there is none
  data(name) {
    const found = document.getElementById(`data-${name}`);
    return found && JSON.parse(found.textContent);
  },

  // whether names of systems and all numbers are hidden
  blind() {
    return "blind" in document.body.dataset;
  },

  // what a text of base64 stands for, as an ArrayBuffer
  bytes(base64) {
    const text = atob(base64);
    const found = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i += 1) {
      found[i] = text.charCodeAt(i);
    }
    return found.buffer;
  },
};

{
  // the theme: the system's, or what was chosen, which is remembered where a page may remember things
  const theme = document.getElementById("page-theme");
  theme.value = document.documentElement.dataset.theme ?? "auto";
  theme.hidden = false;
  theme.addEventListener("change", () => {
    const chosen = theme.value;
    if (chosen === "auto") {
      delete document.documentElement.dataset.theme;
    } else {
      document.documentElement.dataset.theme = chosen;
    }
    try {
      localStorage.setItem("evalkit-theme", chosen);
    } catch {
      // the theme is chosen for now
    }
  });

  // paper has no disclosures to open: what belongs to the tables is printed
  const opened = [];
  addEventListener("beforeprint", () => {
    for (const details of document.querySelectorAll("details[data-print]:not([open])")) {
      details.open = true;
      opened.push(details);
    }
  });
  addEventListener("afterprint", () => {
    for (const details of opened.splice(0)) {
      details.open = false;
    }
  });

  // names may stand in the title of the window when they are shown on the page
  const title = document.querySelector("h1 .when-seen").dataset.title;
  document.addEventListener("evalkit:blind", () => {
    document.title = `${evalkit.blind() ? "Blind listening" : title} · evalkit`;
  });

  // which section is being read
  const links = new Map(
    [...document.querySelectorAll(".page-nav a")].map((link) => [link.hash.slice(1), link]),
  );
  const read = new Set();
  const observer = new IntersectionObserver(
    (entries) => {
      for (const entry of entries) {
        if (entry.isIntersecting) {
          read.add(entry.target.id);
        } else {
          read.delete(entry.target.id);
        }
      }
      const current = [...links.keys()].find((id) => read.has(id));
      for (const [id, link] of links) {
        if (id === current) {
          link.setAttribute("aria-current", "true");
        } else {
          link.removeAttribute("aria-current");
        }
      }
    },
    { rootMargin: "-30% 0px -60% 0px" },
  );
  for (const id of links.keys()) {
    observer.observe(document.getElementById(id));
  }
}
