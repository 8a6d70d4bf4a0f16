/* Updates the page: fetches its content anew, and says so when the site does not answer. */
"use strict";

(() => {
    const page = document.getElementById("overview");
    const part = document.getElementById("overview-part");
    const fault = document.getElementById("overview-fault");
    const interval = Number(page.dataset.interval) * 1000;
    const patience = 15000; // a frozen server never answers
    let timer = 0;

    const answer = async (url) => fetch(url, {signal: AbortSignal.timeout(patience)});

    function partUrl() {
        const url = new URL(window.location.href);
        url.searchParams.set("part", "1");
        return url;
    }

    // The same elements stay open, and the focus stays where the reader has it.
    function show(html) {
        const next = new DOMParser().parseFromString(html, "text/html").body;
        if (!next.querySelector("#overview-time")) {
            return false;
        }
        for (const details of part.querySelectorAll("details[open]")) {
            next.querySelector(`#${details.id}`)?.setAttribute("open", "");
        }
        const focused = part.contains(document.activeElement) ? document.activeElement.id : "";
        const scrolled = part.querySelector(".overview-scroll");
        const place = scrolled && [scrolled.scrollLeft, scrolled.scrollTop];
        part.replaceChildren(...next.childNodes);
        if (focused) {
            document.getElementById(focused)?.focus({preventScroll: true});
        }
        if (place) {
            part.querySelector(".overview-scroll")?.scrollTo(...place);
        }
        return true;
    }

    async function reasons() {
        if (!page.dataset.readyz) {
            return [];
        }
        try {
            const text = await (await answer(page.dataset.readyz)).text();
            return text.split("\n").filter((line) => /^(error|warning): /.test(line));
        } catch {
            return [];
        }
    }

    async function tell(why) {
        const since = document.getElementById("overview-time").textContent;
        const lines = [`Not updated since ${since}: ${why}`, ...await reasons()];
        if (lines.join("\n") === fault.dataset.lines) {
            return; // a screen reader reads each change aloud
        }
        fault.dataset.lines = lines.join("\n");
        fault.replaceChildren(...lines.map((line) => {
            const paragraph = document.createElement("p");
            paragraph.textContent = line;
            return paragraph;
        }));
    }

    async function update() {
        try {
            const response = await answer(partUrl());
            if (response.redirected) {
                await tell("you are logged out. Reload the page to log in.");
            } else if (!response.ok || !show(await response.text())) {
                await tell(`the site answers with an error (${response.status}).`);
            } else {
                delete fault.dataset.lines;
                fault.replaceChildren();
            }
        } catch {
            await tell("the site does not answer.");
        }
        schedule();
    }

    function schedule(wait = interval) {
        clearTimeout(timer);
        if (!document.hidden) {
            timer = setTimeout(update, wait);
        }
    }

    document.addEventListener("visibilitychange", () => schedule(0));
    schedule();
})();
