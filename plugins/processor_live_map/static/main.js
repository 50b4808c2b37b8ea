// What happens when the page is opened?

import { Camera } from './camera.js'
import { Channel } from './channel.js'
import { isClockSet, setClock } from './clock.js'
import { Devices } from './devices.js'
import { Directus } from './directus.js'
import { Figures } from './figures.js'
import { makeGround } from './ground.js'
import { List } from './list.js'
import { Notice } from './notice.js'
import { Scene } from './scene.js'
import { Status } from './status.js'
import { mayAnimate, onThemeChange, readTheme } from './theme.js'
import { Watch } from './watch.js'
import { shortNames } from './wording.js'

const REFRESH_MS = 1_000

const find = (id) => document.getElementById(id)

async function load(name) {
  const askedAt = Date.now()
  const answer = await fetch(new URL(name, import.meta.url), { cache: 'no-cache' })
  setClock(answer, askedAt)
  return answer.json()
}

const channel = new Channel() // it loads while the rest does
const notice = new Notice(find('notice'), find('map'))
const [config, drawn] = await Promise.all([load('config.json'), load('overlay.json')]).catch((error) => {
  notice.show('The map cannot be loaded', 'The server does not answer as it should.', { 'Try again': () => location.reload() })
  throw error
})
let theme = readTheme()
const devices = new Devices(mayAnimate)
const ground = makeGround(find('map'), config, drawn, () => theme)
const camera = new Camera(ground.map, devices)
const scene = new Scene(ground.map, devices, camera, ground.written, () => theme, 'devices')
const list = new List(find('list'), find('find'), (id) => (id === camera.followed ? camera.release() : camera.follow(id)))
const figures = new Figures(devices, { count: find('count'), rate: find('rate'), worstAge: find('worst-age') })
const status = new Status(find('status'), devices)
let isNew = true // whether the event has been shown already

const stage = {
  forget() {
    devices.clear()
    camera.release()
    isNew = true
    relist()
  },
  see(snapshot) {
    devices.reset(snapshot)
    relist()
    if (isNew) camera.fit(ground.bounds)
    isNew = false
  },
  move(positions) {
    figures.add(positions.length)
    const known = devices.size
    for (const position of positions) devices.take(position)
    if (devices.size !== known) relist()
    scene.move()
  },
  say: (...said) => status.say(...said),
}

function relist() {
  scene.names = shortNames([...devices].map(({ id }) => id))
  list.show(devices, scene.names)
  figures.refresh()
  scene.repaint()
}

camera.onChange = () => {
  const { followed } = camera
  list.mark(followed)
  if (followed === undefined && document.activeElement === find('release')) find('map').focus() // it hides itself
  find('release').hidden = followed === undefined
  find('release').textContent = `Following ${scene.names.get(followed)}: let go`
  scene.repaint()
}
camera.fit(ground.bounds)
find('fit').addEventListener('click', () => camera.fit(ground.bounds))
find('release').addEventListener('click', () => camera.release())
addEventListener('keydown', ({ key }) => key === 'Escape' && camera.release())
ground.map.on('click', ({ containerPoint }) => {
  const device = scene.at(containerPoint)
  if (device) camera.follow(device.id)
})
ground.map.on('mousemove', ({ containerPoint }) => {
  ground.map.getContainer().classList.toggle('over-device', Boolean(scene.at(containerPoint)))
})
find('unfold').addEventListener('click', () => {
  find('unfold').setAttribute('aria-expanded', document.body.classList.toggle('unfolded'))
})
find('sign-in').href = config.signIn
onThemeChange(() => {
  theme = readTheme()
  ground.map.eachLayer((layer) => layer.paint?.()) // those of canvas.js
})
let comparing // our clock with the service's, while that is under way
setInterval(() => {
  figures.tick()
  list.refresh(devices)
  status.refresh()
  if (isClockSet()) comparing ??= load('config.json').catch(() => {}).finally(() => { comparing = undefined })
}, REFRESH_MS)

const watch = new Watch({
  channel,
  directus: new Directus(new URL(config.directus, document.baseURI).href),
  picker: find('event'),
  notice,
  stage,
  signIn: config.signIn,
})
await watch.begin()
