// Loaded at the end of every page.

// What happened comes first for those who use a keyboard or a screen reader.
document.querySelector("[data-focus]")?.focus();
