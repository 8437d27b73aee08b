// Where the bridge's Python is: the environment that Install Bridge built, else the one that "cellpose-fiji macros install" named.

import groovy.json.JsonOutput
import groovy.json.JsonSlurper
import ij.IJ
import ij.Prefs
import java.security.MessageDigest

class CellposeEnvironment {
	static final String NAME = "cellpose-fiji-bridge"
	static final String MENU = "Cellpose Fiji Bridge"
	private static final String PLACE = "cellposefiji.environment"

	// What came with the update site: the wheel, and the versions that it was tested with.
	static File lib() { new File(IJ.getDirectory("imagej"), "lib/" + NAME) }

	static File wheel() {
		def all = lib().listFiles()?.findAll { it.name.endsWith(".whl") }
		return all ? all.max { it.lastModified() } : null
	}

	static File requirements() { new File(lib(), "requirements.txt") }

	// The environment that was built, if it was and is there.
	static File built() {
		def place = Prefs.get(PLACE, "")
		return place && mark(new File(place)).isFile() ? new File(place) : null
	}

	static File bin(File base) { new File(base, IJ.isWindows() ? "Scripts" : "bin") }

	// The bridge's program; Python is beside it.
	File program() {
		def name = IJ.isWindows() ? "cellpose-fiji.exe" : "cellpose-fiji"
		if (built()) return new File(bin(built()), name)
		def command = new File(IJ.getDirectory("plugins") + MENU, "command.txt")
		if (!command.isFile()) throw new CellposeWorker.Failed("Python is not installed. Plugins > " + MENU + " > Install Bridge does it, once. (Where the bridge is installed already: cellpose-fiji macros install --fiji PATH.)")
		def named = new File(new JsonSlurper().parseText('["' + command.getText("US-ASCII").trim() + '"]')[0].toString())
		if (!named.isFile()) throw new CellposeWorker.Failed(named.path + ": is not there any more (expected the program of the bridge). Plugins > " + MENU + " > Install Bridge installs it again, or in a terminal: cellpose-fiji macros install --fiji PATH")
		return named
	}

	// Whether an environment was built from another wheel than the one that is there now.
	boolean isOutdated() { built() && wheel() && told().made_from != contents() }

	String torch() { told().torch ?: "this machine" }

	void setCurrent(File base, String torch) {
		mark(base).setText(JsonOutput.toJson([made_from: contents(), torch: torch]), "UTF-8")
		Prefs.set(PLACE, base.path)
		Prefs.savePreferences()
	}

	static void setHalfBuilt() { if (built()) mark(built()).delete() }

	static String contents() {
		def digest = MessageDigest.getInstance("SHA-256")
		[wheel(), requirements()].each { digest.update(it.bytes) }
		return digest.digest().encodeHex().toString()
	}

	private Map told() { built() ? new JsonSlurper().parse(mark(built())) as Map : [:] }

	private static File mark(File base) { new File(base, NAME + ".json") }
}
