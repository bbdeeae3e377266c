// Prints, as JSON, what scoring must know of each test that the suite's client
// runs against a cache behind a URL. The suite's folder is the only argument.
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

const folder = join(process.argv[1], 'tests')
const load = async name => (await import(pathToFileURL(join(folder, name)))).default

const groups = [...await load('index.mjs')]
// The client of the npm version adds this group to the list by itself.
if (existsSync(join(folder, 'surrogate-control.mjs'))) {
  groups.push(await load('surrogate-control.mjs'))
}

const tests = groups.flatMap(group => group.tests
  .filter(test => test.browser_only !== true)
  .map(test => ({
    id: test.id,
    group: group.id,
    name: test.name,
    kind: test.kind,
    depends_on: test.depends_on
  })))
console.log(JSON.stringify(tests))
