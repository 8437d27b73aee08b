// The Python process that Fiji keeps, and how a script of this menu says what went wrong: what all of them share.

import ij.IJ
import ij.macro.Interpreter
import java.awt.GraphicsEnvironment
import java.nio.file.Files

class CellposeWorker {
	static final String SERVICE = "cellpose-fiji.service"
	static final int PATIENCE_S = 20  // between Esc and the end: one batch of tiles

	static class Failed extends RuntimeException { Failed(String text) { super(text) } }

	final String title

	CellposeWorker(String title) { this.title = title }

	static void refuse(String text) { throw new Failed(text) }

	static void stopped() { throw new Failed("Stopped.") }

	static boolean isHeadless() { GraphicsEnvironment.isHeadless() }

	// Appose as this Fiji has it.
	static Class appose() {
		try {
			return Class.forName("org.apposed.appose.Appose")
		} catch (ClassNotFoundException e) {
			throw new Failed("This Fiji has no Appose (expected jars/appose-*.jar). Update Fiji (Help > Update...), and try again.")
		}
	}

	// Does the work of a script in a temporary folder of its own; a sentence for the user ends it, in a macro that as well.
	void perform(Closure work) {
		def folder = Files.createTempDirectory("cellpose-fiji-").toFile()
		try {
			work(folder)
		} catch (Failed e) {
			tell(e.message)
			IJ.showStatus(title + ": " + e.message)
		} finally {
			folder.deleteDir()
		}
	}

	private void tell(String sentence) {
		def inMacro = Interpreter.getInstance() != null
		def wanted = sentence == "Stopped."
		// A window would stop a macro that nobody watches: the Log has the sentence, and the macro ends.
		if (!wanted && (inMacro || isHeadless())) IJ.log(title + ": " + sentence)
		else if (!wanted) IJ.error(title, sentence)
		if (inMacro) Interpreter.abort()
	}

	// The process: the one that runs, else a new one.
	def service() {
		def running = IJ.getProperty(SERVICE)
		if (running != null && running.isAlive()) return running
		def environment = new CellposeEnvironment()
		if (environment.isOutdated()) new CellposeInstaller(this).install(environment.torch())
		return start(environment.program().parentFile)
	}

	// A process of the Python in this folder; it stays.
	def start(File bin) {
		def made = appose().custom().base(bin.parentFile).binPaths(bin.path).env(["PYTHONUTF8": "1"]).build().python()
		made.init("import numpy\nfrom bridge import fiji_worker\nfiji_worker.guard_stdout()")
		made.start()
		IJ.setProperty(SERVICE, made)
		Runtime.getRuntime().addShutdownHook(new Thread({ made.kill() }))
		return made
	}

	static boolean stop() {
		def running = IJ.getProperty(SERVICE)
		IJ.setProperty(SERVICE, null)
		if (running == null || !running.isAlive()) return false
		running.kill()
		return true
	}

	// One question to the process, and its answer. Esc stops the work and keeps the process.
	Map ask(String script, Map inputs, Map named = [:], Closure isStopped = { IJ.escapePressed() }) {
		def task = service().task(script, inputs)
		task.listen { event ->
			if (event.message) IJ.showStatus(event.message + " (Esc stops)")
			if (event.maximum > 0) IJ.showProgress(event.current / (double) event.maximum)
		}
		IJ.resetEscape()
		task.start()
		try {
			await(task, isStopped)
		} finally {
			IJ.showProgress(1.0d)
		}
		if (task.outputs.error) {
			def said = task.outputs.error.toString()
			named.each { path, name -> said = said.replace(path.toString(), name.toString()) }
			throw new Failed(said)
		}
		return task.outputs
	}

	// A command of the command line, in the process; where nobody waits for it, its status file says how far it is.
	void command(String request, boolean wait) {
		def running
		try {
			running = service()
		} catch (Throwable e) {
			new File(request).delete()
			throw e
		}
		def task = running.task("fiji_worker.command(task, request)", [request: request], "main")
		task.start()
		if (wait) await(task, { false })
	}

	private void await(task, Closure isStopped) {
		def asked = 0L
		while (!task.status.isFinished()) {
			if (!asked && (isStopped() || Thread.currentThread().isInterrupted())) {
				task.cancel()
				asked = System.nanoTime()
				IJ.showStatus("Cellpose stops")
			}
			if (asked && System.nanoTime() - asked > PATIENCE_S * 1000000000L) {
				stop()
				throw new Failed("The Python process did not answer for " + PATIENCE_S + " s, and was ended. The next call starts a new one.")
			}
			Thread.sleep(20)
		}
		switch (task.status.toString()) {
			case "COMPLETE": return
			case "CANCELED": stopped()
			case "CRASHED": throw new Failed("The Python process ended in the middle of its work (out of memory?). The next call starts a new one.")
			default:
				IJ.log(title + ": " + task.error)
				throw new Failed("Something went wrong in Python; the Log says what. Please report it.")
		}
	}
}
