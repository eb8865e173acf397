import { computed, onScopeDispose, ref, shallowRef, watch, type Ref, type ShallowRef } from 'vue'
import type { RunComparison } from '../types'
import { address } from './address'
import { ApiError, compareRuns, getFrame, listRuns } from './api'
import { comparedStyles, type LineStyle } from './colours'
import { emptyView, withFrame, type RunView } from './view'

const EVERY = 5000

export interface ComparedRuns {
  /** The charts of each run, by its id. */
  views: ShallowRef<ReadonlyMap<string, RunView>>
  comparison: ShallowRef<RunComparison | null>
  /** Why the runs cannot be compared, for example since their tasks differ. */
  refusal: Ref<string | null>
  /** Why nothing new is known. */
  failure: Ref<string | null>
  styles: Readonly<Ref<ReadonlyMap<string, LineStyle>>>
}

/** Follows the runs of the address side by side; only what changed is asked for. */
export function useComparedRuns(): ComparedRuns {
  const views = shallowRef<ReadonlyMap<string, RunView>>(new Map())
  const comparison = shallowRef<RunComparison | null>(null)
  const refusal = ref<string | null>(null)
  const failure = ref<string | null>(null)
  const all = shallowRef<readonly string[]>([])
  const styles = computed(() => comparedStyles(address.runs, all.value))

  async function readCharts(runs: readonly string[]): Promise<void> {
    const found = runs.map(async (run) => {
      const known = views.value.get(run) ?? emptyView()
      return [run, withFrame(known, await getFrame(run, 'charts', known))] as const
    })
    views.value = new Map(await Promise.all(found))
  }

  async function readComparison(runs: readonly string[]): Promise<void> {
    try {
      comparison.value = await compareRuns(runs)
      refusal.value = null
    } catch (error) {
      if (!(error instanceof ApiError) || error.status !== 404) throw error
      comparison.value = null
      refusal.value = error.message
    }
  }

  async function refresh(): Promise<void> {
    const runs = [...address.runs]
    if (document.hidden || runs.length === 0) return
    try {
      if (all.value.length === 0) all.value = (await listRuns()).runs.map((run) => run.run_id)
      await readCharts(runs)
      await readComparison(runs)
      failure.value = null
    } catch (error) {
      failure.value = (error as Error).message
    }
  }

  watch(
    () => address.runs.join('\n'),
    () => void refresh(),
    { immediate: true },
  )
  const timer = setInterval(() => void refresh(), EVERY)
  onScopeDispose(() => {
    clearInterval(timer)
  })
  return { views, comparison, refusal, failure, styles }
}
