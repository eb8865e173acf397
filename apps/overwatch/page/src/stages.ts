// Made by `python -m esper_karn.schemas` from Karn's view models. Do not edit.

/** One letter for each stage, so that colour is never alone. */
export const STAGE_LETTERS: Readonly<Record<string, string>> = {
  DORMANT: '·',
  GERMINATED: 'G',
  TRAINING: 'T',
  BLENDING: 'B',
  HOLDING: 'H',
  FOSSILIZED: 'F',
  PRUNED: 'P',
  EMBARGOED: 'E',
  RESETTING: 'R',
}
