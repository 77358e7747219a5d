// Puts asciinema-player where the page says: what is recorded now, or a recording from its beginning.
"use strict";
const place = document.getElementById("terminal");
if (place && window.AsciinemaPlayer) {
  const live = place.dataset.live;
  const source = live ? { driver: "eventsource", url: live } : place.dataset.cast;
  const look = { fit: "width", controls: true, theme: "asciinema", idleTimeLimit: live ? undefined : 3, autoPlay: Boolean(live), preload: !live };
  const player = window.AsciinemaPlayer.create(source, place, look);
  player.addEventListener("ended", () => { if (live) place.dataset.over = "yes"; });
}
