// The map's layout and looks.
import { css } from 'lit';

export const mapStyles = css`
  :host { container-type: inline-size; display: flex; flex-direction: column; height: 560px; min-height: 240px; min-width: 0; background: var(--_surface); }
  :host([hidden]) { display: none; }
  .controls { display: flex; flex-wrap: wrap; gap: 8px; align-items: center; padding: 0 0 8px; }
  .space { flex: 1; }
  .choice { display: flex; background: var(--_raised); border: 1px solid var(--_hair); border-radius: 8px; padding: 2px; }
  .choice label { position: relative; cursor: pointer; }
  .choice input { position: absolute; inset: 0; opacity: 0; margin: 0; cursor: pointer; }
  .choice span { display: block; padding: 0 10px; height: 24px; line-height: 24px; border-radius: 6px; font-size: 12px;
    color: var(--_muted); transition: background 0.12s, color 0.12s; white-space: nowrap; }
  .choice label:hover span { color: var(--_ink); }
  .choice input:checked + span { background: var(--_surface); color: var(--_ink); font-weight: 600;
    box-shadow: 0 0 0 1px var(--_hair), 0 1px 2px #0000001a; }
  .choice input:focus-visible + span { outline: 2px solid var(--_accent); outline-offset: 1px; }
  .group { display: flex; }
  .group button { border-radius: 0; margin-left: -1px; position: relative; }
  .group button:hover:not(:disabled), .group button:focus-visible { z-index: 1; }
  .group button:first-child { border-radius: 7px 0 0 7px; margin-left: 0; }
  .group button:last-child { border-radius: 0 7px 7px 0; }
  .icon { width: 32px; padding: 0; }
  .icon svg, .save svg { width: 15px; height: 15px; fill: none; stroke: currentColor; stroke-width: 1.6; stroke-linecap: round;
    stroke-linejoin: round; vertical-align: -3px; }
  .save svg { width: 13px; height: 13px; margin-right: 5px; vertical-align: -2px; }
  .body { flex: 1; display: flex; gap: 20px; min-height: 0; }
  .plot { position: relative; flex: 1; min-width: 0; outline: none; }
  .frame { position: absolute; right: 0; bottom: 0; overflow: hidden; border-radius: 3px; touch-action: none;
    cursor: crosshair; }
  .frame[data-whole] { touch-action: pan-x pan-y; }
  .frame.moving { cursor: grabbing; }
  .plot:focus-visible .frame { box-shadow: 0 0 0 2px var(--_surface), 0 0 0 4px var(--_accent); }
  .frame canvas { display: block; width: 100%; height: 100%; }
  svg.marks { position: absolute; inset: 0; width: 100%; height: 100%; overflow: visible; pointer-events: none;
    font-size: 11.5px; }
  svg.marks text { user-select: none; font-variant-numeric: tabular-nums; }
  .fill-ink { fill: var(--_ink); } .fill-muted { fill: var(--_muted); } .fill-accent { fill: var(--_accent); }
  .stroke-muted { stroke: var(--_muted); } .strong { font-weight: 600; }
  .cross-outer { stroke: #000; stroke-width: 3; stroke-opacity: 0.6; fill: none; }
  .cross-inner { stroke: #fff; stroke-width: 1; fill: none; }
  .cell-outer { fill: none; stroke: #000; stroke-opacity: 0.65; stroke-width: 4; }
  .cell-inner { fill: none; stroke: #fff; stroke-width: 2; }
  .badge rect { fill: var(--_accent); } .badge text { fill: var(--_surface); font-weight: 600; }
  .chip { position: absolute; left: calc(var(--_left, 60px) + 10px); bottom: 10px; padding: 3px 9px; border-radius: 999px; font-size: 11.5px;
    background: color-mix(in srgb, var(--_surface) 88%, transparent); box-shadow: 0 0 0 1px var(--_hair);
    pointer-events: none; font-variant-numeric: tabular-nums; display: flex; gap: 7px; align-items: center; }
  .chip .dot { width: 7px; height: 7px; border-radius: 50%; background: var(--_muted); }
  .chip .dot.busy { background: var(--_accent); animation: pulse 1.2s ease-in-out infinite; }
  @keyframes pulse { 50% { opacity: 0.25; } }
  .minimap { position: absolute; right: 10px; bottom: 10px; border-radius: 4px; overflow: hidden; cursor: move;
    background: var(--_empty); box-shadow: 0 0 0 1px var(--_hair), 0 0 0 3px color-mix(in srgb, var(--_surface) 80%, transparent),
      0 3px 10px #00000040; touch-action: none; }
  .minimap canvas { width: 100%; height: 100%; opacity: 0.9; }
  .window { position: absolute; left: 0; top: 0; border: 1.5px solid #fff; box-shadow: 0 0 0 1px #000a, inset 0 0 0 1px #000a;
    border-radius: 1px; }
  .message { position: absolute; inset: 0; display: grid; place-items: center; padding: 24px; text-align: center; color: var(--_muted);
    pointer-events: none; }
  .message.error > div { max-width: 46ch; padding: 14px 18px; border-radius: 10px; color: var(--_ink); background: var(--_surface);
    box-shadow: 0 0 0 1px var(--_hair), 0 6px 24px #0003; overflow-wrap: anywhere; }
  .message b { display: block; margin-bottom: 2px; }
  .readout { display: flex; flex-wrap: wrap; gap: 2px 18px; align-items: baseline; min-height: 34px; padding: 9px 0 0;
    font-size: 12.5px; color: var(--_muted); font-variant-numeric: tabular-nums; }
  .readout b { color: var(--_ink); font-weight: 600; }
  .readout .token { color: var(--_ink); background: var(--_raised); border-radius: 5px; padding: 1px 6px; margin-left: 5px; 
    max-width: 24ch; display: inline-block; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; vertical-align: bottom; }
  .readout .weight { font-size: 14px; }
  /* Room for the lines that it wraps into, so that reading a cell does not change the frame. */
  @container (max-width: 860px) { .readout { min-height: 48px; align-content: start; } }
  @container (max-width: 480px) {
    .readout { min-height: 69px; }
    .body { gap: 4px; }
  }
  .ink-ink { color: var(--_ink); } .ink-muted { color: var(--_muted); }
  .ink-accent { color: var(--_accent); } .ink-surface { color: var(--_surface); } .ink-empty { color: var(--_empty); }
  .silent { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
  fovea-colour-bar { padding-top: var(--_top, 40px); }
  @media (prefers-reduced-motion: reduce) { .chip .dot.busy { animation: none; } .choice span { transition: none; } }
`;
