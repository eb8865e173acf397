// Made by `python -m esper_karn.schemas` from Karn's view models. Do not edit.

/** A measurement: NaN and infinities are words. */
export type Measured = number | "NaN" | "Infinity" | "-Infinity";

/** One chart. */
export interface Chart {
  name: string;
  title: string;
  unit: string;
  log: boolean;
  lines: ChartLine[];
}

/** A line of a chart: the name of its series, and what the legend says. */
export interface ChartLine {
  series: string;
  label: string;
}

/** The charts that have a sample, and how their positions are read. */
export interface Charts {
  charts: Chart[];
  steps_per_round: number | null;
  empty: string | null;
  missing: string | null;
}

/** A choice of a head that was open, and how likely it was. */
export interface ChoiceView {
  name: string;
  probability: Measured;
}

/** One run in a comparison; `null` where its log does not say. */
export interface ComparedRun {
  run: string;
  status: string | null;
  rounds: number;
  accuracy: CurveSummary;
  mean_return: CurveSummary;
  test_accuracy: Measured | null;
  seconds: Measured | null;
  host_parameters: number | null;
  grown_parameters: Measured | null;
  policy_parameters: number | null;
  fossilized: number;
  fossilized_per_host: Measured | null;
}

/** How a run stands for those who look at it. */
export interface Condition {
  condition: "waiting" | "live" | "stale" | "crashed" | "ended";
  text: string;
  resume: string | null;
}

/** A key of the configuration that is not the same in all runs. */
export interface ConfigDifference {
  key: string;
  values: unknown[];
}

/** The latest counterfactual accuracies. */
export interface Counterfactuals {
  epoch: number | null;
  waterfall: WaterfallStep[];
  configurations: [string[], Measured][];
}

/** A curve in three numbers, in the unit of its values; `null` where no value is finite. */
export interface CurveSummary {
  best: Measured | null;
  last: Measured | null;
  area: Measured | null;
}

/** One decision. */
export interface DecisionCard {
  sequence: number;
  round: number | null;
  epoch: number | null;
  environment: number | null;
  op: string;
  slot: string | null;
  succeeded: boolean;
  forced: boolean;
  reason: string | null;
  rejection: string | null;
  heads: HeadChoice[];
  value: Measured | null;
  q_values: { [name: string]: Measured };
  reward: Measured | null;
  parts: { [name: string]: Measured };
  flags: string[];
  notes: string[];
}

/** The latest decisions, the latest first. */
export interface DecisionsView {
  cards: DecisionCard[];
  empty: string | null;
}

/** The mean of paired differences, with the interval that an evaluation has. */
export interface Difference {
  hosts: number;
  mean: Measured | null;
  low: Measured | null;
  high: Measured | null;
}

/** One episode of a host. */
export interface EpisodeView {
  round: number;
  epochs: number;
  ended: string | null;
  best_accuracy: Measured | null;
  lifelines: LifelineView[];
  accuracy: [number, Measured | null][];
  germinated: number;
  fossilized: number;
  pruned: number;
}

/** One GPU; `null` where a value cannot be read. */
export interface GpuVitals {
  index: number;
  name: string;
  percent: Measured | null;
  memory_mb: Measured | null;
  total_memory_mb: Measured | null;
  temperature: Measured | null;
}

/** What one head chose. */
export interface HeadChoice {
  head: string;
  chosen: string;
  probability: Measured | null;
  open: ChoiceView[];
  masked: string[];
}

/** One head of the policy in the latest update; `null` where it was never relevant. */
export interface HeadView {
  head: string;
  entropy: Measured | null;
  gradient_norm: Measured | null;
  kl: Measured | null;
}

/** What a run is and how far it is. */
export interface Header {
  run_id: string | null;
  command: string | null;
  task: string | null;
  device: string | null;
  plan: string | null;
  status: RunStatus;
  error: string | null;
  round: number;
  rounds_done: number;
  rounds_total: number | null;
  epochs_done: number;
  epochs_total: number | null;
  share: Measured | null;
  elapsed: Measured | null;
  eta: Measured | null;
  mean_accuracy: Measured | null;
  best_accuracy: Measured | null;
  test_accuracy: Measured | null;
  host_parameters: number | null;
  policy_parameters: number | null;
  checkpoint: string | null;
  last_event: Measured | null;
  boot: number;
  missing: number;
  coalesced: number;
  anomalies: number;
  health: Level;
}

/** Every check that was made, the worst first. */
export interface Health {
  verdicts: VerdictView[];
}

/** A host in the grid. */
export interface HostCard {
  environment: number;
  round: number;
  epoch: number;
  rng_seed: number | null;
  device: string | null;
  worker: number | null;
  accuracy: Measured | null;
  gain: Measured | null;
  best_accuracy: Measured | null;
  val_loss: Measured | null;
  ended: string | null;
  last_return: Measured | null;
  parameters: number | null;
  slots: SlotCard[];
  spark: (Measured | null)[];
}

/** One host in full. */
export interface HostView {
  card: HostCard;
  train_loss: Measured | null;
  train_accuracy: Measured | null;
  host_parameters: number | null;
  fossil_parameters: number | null;
  live_parameters: number | null;
  slots: SlotView[];
  current: EpisodeView;
  best: EpisodeView | null;
  counterfactuals: Counterfactuals | null;
  shapley: { [name: string]: Measured } | null;
  rewards: { [name: string]: Measured };
  episode_return: Measured | null;
  test_accuracy: Measured | null;
  test_loss: Measured | null;
  profile: ProfileView | null;
  empty: string | null;
  counterfactuals_empty: string | null;
  profile_empty: string | null;
}

/** Every host of the run, by environment. */
export interface Hosts {
  hosts: HostCard[];
  empty: string | null;
}

/** The gradients and weights of one layer of a host, or of one of its seeds. */
export interface LayerProfile {
  name: string;
  gradient_norm: Measured | null;
  gradient_percentiles: { [name: string]: Measured };
  zero_share: Measured | null;
  exploding_share: Measured | null;
  weight_norm: Measured | null;
}

/** One of the best episodes. */
export interface LeaderboardRow {
  rank: number;
  round: number;
  environment: number;
  rng_seed: number;
  accuracy: Measured | null;
  best_accuracy: Measured | null;
  episode_return: Measured;
  germinated: number;
  fossilized: number;
  pruned: number;
  blueprints: string[];
  parameters: number;
  growth: Measured | null;
  ended: string;
}

/** The best episodes, the best first. */
export interface LeaderboardView {
  rows: LeaderboardRow[];
  empty: string | null;
}

/** How good or bad a value is. */
export type Level = "unknown" | "ok" | "warning" | "bad";

/** What one slot went through. */
export interface LifelineView {
  slot: string;
  spans: SpanView[];
  alpha: [number, Measured][];
}

/** The latest notices, oldest first. */
export interface Log {
  lines: LogLine[];
  anomalies: number;
  latest_anomaly: LogLine | null;
  empty: string | null;
}

/** One notice. */
export interface LogLine {
  sequence: number;
  wall_time: Measured;
  group: "anomaly" | "seed" | "host" | "run";
  kind: string;
  text: string;
  round: number | null;
  epoch: number | null;
  environment: number | null;
}

/** The machine under the run, and the speed of hosts. */
export interface Machine {
  cpu_percent: Measured | null;
  rss_mb: Measured | null;
  memory_mb: Measured | null;
  total_memory_mb: Measured | null;
  disk_free_mb: Measured | null;
  total_disk_mb: Measured | null;
  gpus: GpuVitals[];
  host_epochs_per_second: Measured | null;
  seconds: { [name: string]: Measured };
  restarts: number;
  latest_restart: string | null;
  empty: string | null;
  speed_empty: string | null;
}

/** The moment of a run that a view shows, and the range to move in. */
export interface Moment {
  sequence: number;
  latest: number;
  held_back: number;
  live: boolean;
  round: number;
  rounds_latest: number;
  wall_time: Measured | null;
  first_wall: Measured | null;
  last_wall: Measured | null;
}

/** A value, and the layer or the class that has it. */
export interface NamedValue {
  name: string;
  value: Measured;
}

/** One op in the latest update. */
export interface OpView {
  op: string;
  chosen: number | null;
  share: Measured | null;
  q_mean: Measured | null;
  q_deviation: Measured | null;
  q_variance: Measured | null;
  valid_steps: number;
}

/** A run minus a baseline on the hosts that both trained. */
export interface PairedRun {
  run: string;
  baseline: string;
  accuracy: Difference;
  episode_return: Difference;
}

/** A phase of the current process. */
export interface PhaseStep {
  phase: string;
  detail: string | null;
  seconds: Measured | null;
}

/** What the run is doing, for example `building`; `null` before its first phase. */
export interface PhaseView {
  phase: string | null;
  detail: string | null;
  since: Measured | null;
  steps: PhaseStep[];
}

export type Point = [first: number, last: number, minimum: number | null, mean: number | null, maximum: number | null, not_finite: number];

/** The latest update of the policy; empty before the first. */
export interface Policy {
  round: number | null;
  policy_loss: Measured | null;
  value_loss: Measured | null;
  entropy: Measured | null;
  kl: Measured | null;
  clip_fraction: Measured | null;
  explained_variance: Measured | null;
  gradient_norm: Measured | null;
  learning_rate: Measured | null;
  ratio_min: Measured | null;
  ratio_max: Measured | null;
  advantage_mean: Measured | null;
  advantage_std: Measured | null;
  return_mean: Measured | null;
  return_std: Measured | null;
  lstm_hidden_norm: Measured | null;
  lstm_cell_norm: Measured | null;
  gradient_kept: Measured | null;
  entropy_coefficient: Measured | null;
  passes: number | null;
  seconds: { [name: string]: Measured };
  skipped: string | null;
  heads: HeadView[];
  ops: OpView[];
  q_spread: Measured | null;
  ops_round: number | null;
  empty: string | null;
}

/** The extremes of the last profile of one host; `null` where it was not measured. */
export interface ProfileRow {
  environment: number;
  profile: string;
  round: number | null;
  epoch: number | null;
  smallest_gradient: NamedValue | null;
  largest_gradient: NamedValue | null;
  largest_weights: NamedValue | null;
  most_zeros: NamedValue | null;
  most_exploding: NamedValue | null;
  worst_class: NamedValue | null;
  best_class: NamedValue | null;
  sharpness: Measured | null;
  seconds: Measured;
}

/** What a telemetry profile measured last on one host. */
export interface ProfileView {
  profile: string;
  round: number | null;
  epoch: number | null;
  layers: LayerProfile[];
  class_accuracy: (Measured | null)[];
  sharpness: Sharpness | null;
  seconds: Measured;
}

/** The last profile of each host. */
export interface Profiles {
  rows: ProfileRow[];
  empty: string | null;
}

/** Mean reward of the latest round in which an episode ended, by component. */
export interface Rewards {
  round: number;
  episodes: number;
  components: { [name: string]: Measured };
  total: Measured | null;
  empty: string | null;
}

/** A finished round, or several consecutive ones merged. */
export interface RoundRow {
  first: number;
  last: number;
  mean_return: Measured | null;
  mean_accuracy: Measured | null;
  best_accuracy: Measured | null;
  ops: { [name: string]: number };
  germinated: number;
  fossilized: number;
  pruned: number;
  grown_parameters: Measured | null;
  rollbacks: number;
  rollback_causes: { [name: string]: number };
  seconds: Measured;
}

/** The rounds of a run: the first ones, merged ones between, and the last ones. */
export interface Rounds {
  rows: RoundRow[];
  ops: string[];
  total: RoundRow | null;
  empty: string | null;
}

/** Runs side by side, in the order in which they were named. */
export interface RunComparison {
  task: string;
  area_rounds: number;
  runs: ComparedRun[];
  differences: ConfigDifference[];
  paired: PairedRun[];
}

/** One run of the list. */
export interface RunRow {
  run_id: string;
  status: string;
  task: string | null;
  rounds_done: number;
  rounds_total: number | null;
  share: Measured | null;
  accuracy: Measured | null;
  best_accuracy: Measured | null;
  mean_return: Measured | null;
  spark: (Measured | null)[];
  last_event: Measured | null;
  problem: string | null;
  note: string | null;
}

/** Whether a run is running, or how it ended. */
export type RunStatus = "running" | "completed" | "interrupted" | "failed";

/** The runs of a folder, in the order in which they are given. */
export interface RunsList {
  runs: RunRow[];
  empty: string | null;
}

/** How the validation loss rises around the weights, in random directions. */
export interface Sharpness {
  radius: Measured;
  directions: number;
  mean_rise: Measured;
  largest_rise: Measured;
}

/** A slot in the grid: stage and blueprint by name, `null` without a seed. */
export interface SlotCard {
  slot: string;
  stage: string;
  blueprint: string | null;
  alpha: Measured;
  contribution: Measured | null;
}

/** The state of one slot, with stage, ops, blueprint and style by name. */
export interface SlotView {
  slot: string;
  stage: string;
  permitted: string[];
  blueprint: string | null;
  style: string | null;
  tempo: number | null;
  alpha: Measured;
  alpha_target: Measured | null;
  alpha_mode: string;
  ramp_steps: number;
  ramp_done: number;
  pruning: boolean;
  epochs_in_stage: number;
  age: number;
  parameters: number;
  contribution: Measured | null;
  contribution_velocity: Measured | null;
  contribution_age: number | null;
  interaction_sum: Measured | null;
  stage_improvement: Measured | null;
  gradient_norm: Measured | null;
  gradient_health: Measured | null;
  gradient_vanishing: boolean | null;
  gradient_exploding: boolean | null;
  gate: string | null;
  passed: string[];
  failed: string[];
}

/** A stay of a slot in one stage, from epoch `start`, until the next span starts. */
export interface SpanView {
  stage: string;
  start: number;
  blueprint: string | null;
  contribution: Measured | null;
}

/** How one check stands. */
export interface VerdictView {
  name: string;
  level: Level;
  value: Measured | null;
  threshold: Measured;
  below: boolean;
  where: string;
  measures: string;
  advice: string;
}

/** Accuracy after one more seed is switched on. */
export interface WaterfallStep {
  slot: string | null;
  accuracy: Measured | null;
  change: Measured | null;
}

/** The panels of frames by name. */
export interface Panels {
  header: Header;
  phase: PhaseView;
  health: Health;
  machine: Machine;
  log: Log;
  hosts: Hosts;
  profiles: Profiles;
  leaderboard: LeaderboardView;
  policy: Policy;
  rewards: Rewards;
  rounds: Rounds;
  decisions: DecisionsView;
  charts: Charts;
  moment: Moment;
  condition: Condition;
  [name: `host/${number}`]: HostView;
  [name: `decisions/${number}`]: DecisionsView;
}

/** The names of views. */
export type ViewName = "run" | "hosts" | "policy" | "decisions" | "charts" | "log" | "status" | `host/${number}`;

/** A panel, and the sequence number of the event that changed it last. */
export interface PanelFrame<Value> {
  at: number;
  value: Value;
}

/** The buckets of a series from index `start` on; those before it are unchanged. */
export interface SeriesFrame {
  start: number;
  buckets: Point[];
}

/** What changed of a view after the event `from`; with -1 the whole view. */
export interface Frame {
  stream: string;
  from: number;
  to: number;
  panels: { [Name in keyof Panels]?: PanelFrame<Panels[Name]> };
  series: { [name: string]: SeriesFrame };
}
