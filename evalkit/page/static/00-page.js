"use strict";
// Everything that the page's scripts share.
const evalkit = {
  // what a section has left for scripts under a name; null where there is none
  data(name) {
    const found = document.getElementById(`data-${name}`);
    return found && JSON.parse(found.textContent);
  },
};
