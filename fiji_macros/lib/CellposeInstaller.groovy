// Builds the bridge's Python environment by Appose and uv, from the wheel and the versions in lib/cellpose-fiji-bridge.

import ij.IJ
import java.awt.BorderLayout
import java.awt.Button
import java.awt.Font
import java.awt.Frame
import java.awt.Label
import java.awt.TextArea
import java.util.concurrent.ConcurrentLinkedQueue

class CellposeInstaller {
	// What uv is told of PyTorch, for each choice; nothing: as PyPI has it.
	static final Map TORCH = ["this machine": "auto", "processor only": "cpu", "as PyPI has it": null]

	final CellposeWorker worker
	private final lines = new ConcurrentLinkedQueue<String>()
	private long began
	private Frame window
	private TextArea text
	private Label elapsed
	private Button button
	private volatile boolean stopped

	CellposeInstaller(CellposeWorker worker) { this.worker = worker }

	void install(String torch) {
		def environment = new CellposeEnvironment()
		def wheel = CellposeEnvironment.wheel()
		if (wheel == null || !CellposeEnvironment.requirements().isFile()) throw new CellposeWorker.Failed(CellposeEnvironment.lib().path + ": holds no wheel (expected cellpose_fiji_bridge-*.whl and requirements.txt, as the update site and the zip bring them). Get these, or name an installed bridge: cellpose-fiji macros install --fiji PATH")
		if (!TORCH.containsKey(torch)) throw new CellposeWorker.Failed("PyTorch for: not known (got " + torch + ", expected " + TORCH.keySet().join(", ") + "). Correct it.")
		CellposeWorker.stop()
		began = System.nanoTime()
		IJ.resetEscape()
		stopped = false
		if (!CellposeWorker.isHeadless()) open()
		try {
			CellposeEnvironment.setHalfBuilt()
			def base = build(wheel, torch)
			say("Compiles what is computed, once")
			worker.start(CellposeEnvironment.bin(base))
			worker.ask("fiji_worker.warm_up(task)", [:], [:], { show(); isStopped() })
			environment.setCurrent(base, torch)
			show()
			say("Done. Plugins > " + CellposeEnvironment.MENU + " > Segment Image")
			if (button) button.setLabel("Close")
			IJ.showStatus("The bridge is installed (" + seconds() + " s)")
		} catch (Throwable e) {
			window?.dispose()
			throw e
		}
	}

	private File build(File wheel, String torch) {
		def failure = null, made = null
		def builder = CellposeWorker.appose().uv().scheme("requirements.txt").content(wanted(wheel)).name(CellposeEnvironment.NAME)
		builder.python(System.getProperty("cellpose-fiji.python", "3.12")).env(variables(torch))
		builder.subscribeOutput { say(it) }
		builder.subscribeError { say(it) }
		builder.subscribeProgress { what, done, all -> IJ.showStatus(what + (all > 0 ? " " + (100 * done).intdiv(all) + " %" : "")) }
		def work = new Thread({
			try {
				made = builder.build()
			} catch (Throwable e) {
				failure = e
			}
		}, "Install Bridge")
		work.start()
		while (work.isAlive()) {
			if (isStopped()) {
				work.interrupt()  // uv ends with it
				work.join(5000)
				CellposeWorker.stopped()
			}
			show()
			Thread.sleep(100)
		}
		show()
		if (failure) throw new CellposeWorker.Failed("Python could not be installed: " + reason(failure) + " Nothing is lost: mend it and choose Install Bridge again; it goes on where it stopped.")
		return new File(made.base())
	}

	private static String wanted(File wheel) {
		def extras = CellposeEnvironment.requirements().readLines("UTF-8").find { it.startsWith("# extras: ") }
		def named = extras ? "[" + extras.substring(10).trim() + "]" : ""
		return "cellpose-fiji-bridge" + named + " @ " + wheel.toPath().toUri().toASCIIString() + "\n" + CellposeEnvironment.requirements().getText("UTF-8")
	}

	// What uv is told beside the list: which PyTorch, and Fiji's proxy (Edit > Options > Proxy Settings).
	private static Map variables(String torch) {
		def told = [PYTHONUTF8: "1"]
		if (TORCH[torch]) told.UV_TORCH_BACKEND = TORCH[torch]
		["http", "https"].each { kind ->
			def host = System.getProperty(kind + ".proxyHost")
			if (host) told[kind.toUpperCase() + "_PROXY"] = "http://" + host + ":" + System.getProperty(kind + ".proxyPort", kind == "http" ? "80" : "443")
		}
		def without = System.getProperty("http.nonProxyHosts")
		if (without && told.keySet().any { it.endsWith("_PROXY") }) told.NO_PROXY = without.replace("|", ",").replace("*", "")
		return told
	}

	// The end of what uv said before it gave up.
	private String reason(Throwable failure) {
		def said = lines.collect { it.trim() }.findAll { it && !it.startsWith("Downloading") && !it.startsWith("Using") }
		def at = said.findLastIndexOf { it.startsWith("error:") || it.startsWith("×") }
		def end = at < 0 ? said.takeRight(3) : said.drop(at)
		if (!end) end = [failure.message ?: failure.toString()]
		def words = end.join(" ").replaceAll(/\s+/, " ")
		return (words.length() > 600 ? words.take(600) + "..." : words) + (words.endsWith(".") ? "" : ".")
	}

	private boolean isStopped() { stopped || IJ.escapePressed() }

	private long seconds() { (System.nanoTime() - began).intdiv(1000000000L) }

	private void say(String line) {
		def told = line.stripTrailing()
		if (!told) return
		lines << told
		if (text) text.append(told + "\n")
		else IJ.log(worker.title + ": " + told)
	}

	private void show() {
		IJ.showStatus(worker.title + ": " + seconds() + " s (Esc stops)")
		elapsed?.setText(seconds() + " s")
	}

	private void open() {
		window = new Frame(worker.title)
		text = new TextArea("", 18, 84, TextArea.SCROLLBARS_VERTICAL_ONLY)
		text.setEditable(false)
		text.setFont(new Font(Font.MONOSPACED, Font.PLAIN, 12))
		elapsed = new Label("0 s          ")
		button = new Button("Cancel")
		button.addActionListener {
			if (button.getLabel() == "Cancel") stopped = true
			else window.dispose()
		}
		def below = new java.awt.Panel(new BorderLayout())
		below.add(elapsed, BorderLayout.WEST)
		below.add(button, BorderLayout.EAST)
		window.add(text, BorderLayout.CENTER)
		window.add(below, BorderLayout.SOUTH)
		window.pack()
		window.setLocation(200, 160)
		window.setVisible(true)
	}
}
