// The cine at its true rate.

export const USUAL_MS = 40; // where the images do not say how long a phase lasts

export class Player {
  constructor(step) {
    this.step = step; // called with how many phases to go on
    this.playing = false;
  }

  toggle(frameTime) {
    this.playing = !this.playing;
    if (!this.playing) return;
    let last = performance.now();
    const tick = (now) => {
      if (!this.playing) return;
      const phases = Math.floor((now - last) / frameTime);
      if (phases > 0) {
        last += phases * frameTime;
        this.step(phases);
      }
      requestAnimationFrame(tick);
    };
    requestAnimationFrame(tick);
  }
}
