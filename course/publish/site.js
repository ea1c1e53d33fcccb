// A formula wider than its column scrolls, with the arrow keys, too: once the Tab key can reach it.
function reachable() {
  for (const formula of document.querySelectorAll('mjx-container[display="true"]')) {
    if (formula.scrollWidth > formula.clientWidth) formula.tabIndex = 0;
  }
}
addEventListener("load", () => window.MathJax?.startup?.promise.then(reachable));
addEventListener("resize", reachable);
