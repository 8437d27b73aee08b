#@ ImagePlus (label = "Image") imp
#@ String (label = "Cellpose model", value = "cyto3", persistKey = "cellposefiji.image.model") model
#@ String (label = "Diameter of a cell (px, auto, or own: the model's)", value = "own", persistKey = "cellposefiji.image.diameter") diameter
#@ String (label = "Channel of the cells (number, name, or shown)", value = "shown", persistKey = "cellposefiji.image.cells") cells
#@ String (label = "Channel that is measured (number, name, shown, or none)", value = "shown", persistKey = "cellposefiji.image.measured") measured
#@ String (label = "Channel of the nuclei (number, name, or none)", value = "none", persistKey = "cellposefiji.image.nuclei") nuclei
#@ String (label = "Model for nuclei", value = "nuclei", persistKey = "cellposefiji.image.nucleiModel") nuclei_model
#@ String (label = "Diameter of a nucleus (px, auto, or own)", value = "own", persistKey = "cellposefiji.image.nucleiDiameter") nuclei_diameter
#@ String (label = "Positive above (Mean after the background is subtracted, or none)", value = "none", persistKey = "cellposefiji.image.threshold") threshold
#@ String (label = "Of a colour image", choices = {"its only signal", "red", "green", "blue"}, value = "its only signal", persistKey = "cellposefiji.image.colour") colour
#@ String (label = "Radius of the rolling ball (px, or none)", value = "50", persistKey = "cellposefiji.image.radius") radius
#@ String (label = "ROIs go to", choices = {"ROI Manager", "overlay", "both"}, value = "ROI Manager", persistKey = "cellposefiji.image.rois") rois
#@ Boolean (label = "Check the numbers by the native engine", value = true, persistKey = "cellposefiji.image.check") check
// Segment Image
//
// Finds the cells of the image that is open by Cellpose, puts exact ROIs into the ROI Manager or the overlay, subtracts the
// background and measures every cell by ImageJ itself: the Results are those that "cellpose-fiji measure" writes of the saved
// file. Pixels, selection, slice and Set Measurements stay as they were.
//
// With a threshold every cell is called: by its nuclei where they have a channel (a cell is positive where one of its nuclei
// is), else by itself. Positive ROIs are group 1 and orange, negative ones group 2 and blue; a cell without nucleus is neither.
//
// Cellpose runs in a Python process that stays: only the first call starts it and loads the model. Esc stops. Stop Worker
// ends the process.
//
// In a macro  run("Segment Image", "model=cyto3 diameter=own cells=1 measured=2 nuclei=none nuclei_model=nuclei nuclei_diameter=own threshold=none colour=[its only signal] radius=50 rois=overlay check=true");
//             as the Recorder writes it (Fiji asks for what is missing); an error stands in the Log and ends the macro.

import ij.IJ
import ij.ImagePlus
import ij.ImageStack
import ij.gui.Overlay
import ij.gui.YesNoCancelDialog
import ij.io.FileSaver
import ij.io.RoiDecoder
import ij.macro.Interpreter
import ij.measure.Measurements
import ij.plugin.filter.Analyzer
import ij.plugin.filter.BackgroundSubtracter
import ij.plugin.frame.Recorder
import ij.plugin.frame.RoiManager
import ij.process.ByteProcessor
import ij.process.ColorProcessor
import ij.process.ImageProcessor
import java.awt.Color
import java.awt.GraphicsEnvironment
import java.util.zip.ZipInputStream

MANAGED = "cellpose-fiji.managed"  // how many ROIs of ours the ROI Manager holds
GROUPS = [positive: 1, negative: 2, none: 0]
COLOURS = [positive: new Color(0xE69F00), negative: new Color(0x0072B2), none: Color.LIGHT_GRAY]

boolean none(String text) { text.equalsIgnoreCase("none") }

// The number of a channel that was named by number, by its label, or as the one shown.
int channel(String wanted) {
	if (wanted.equalsIgnoreCase("shown")) return imp.getC()
	def names = (1..imp.getNChannels()).collect { c ->
		def label = imp.getNChannels() == 1 ? null : imp.getStack().getSliceLabel(imp.getStackIndex(c, imp.getZ(), imp.getT()))
		label ? label.readLines()[0].trim() : ""
	}
	def byName = names.findIndexOf { it.equalsIgnoreCase(wanted) } + 1
	def number = wanted.isInteger() ? wanted as int : byName
	if (number < 1 || number > imp.getNChannels()) {
		def known = names.withIndex(1).collect { n, i -> n ? i + " = " + n : "" + i }.join(", ")
		worker.refuse(imp.title + ": no such channel (got " + wanted + ", expected shown, or one of " + known + "). Correct the channel.")
	}
	return number
}

// A copy of a channel at the slice and frame shown, without selection.
ImageProcessor plane(int c) {
	def shown = imp.getStackSize() == 1 ? imp.getProcessor() : imp.getStack().getProcessor(imp.getStackIndex(c, imp.getZ(), imp.getT()))
	def copy = shown.duplicate()
	copy.resetRoi()
	return copy
}

// The plane as a file of its own, named as the window where a file can be.
File saved(ImageProcessor pixels, File folder) {
	folder.mkdirs()
	def name = imp.title ==~ /[^\/\\:*?"<>|\p{Cntrl}]{1,100}\.tiff?/ ? imp.title : "image.tif"
	def file = new File(folder, name)
	def one = new ImagePlus(imp.title, pixels)
	one.setCalibration(imp.getCalibration().copy())
	if (!new FileSaver(one).saveAsTiff(file.path)) worker.refuse(file.path + ": cannot be written. Is the disk full?")
	return file
}

List read(File roiset) {
	def all = []
	new ZipInputStream(new BufferedInputStream(new FileInputStream(roiset))).withCloseable { zip ->
		def entry
		while ((entry = zip.getNextEntry()) != null) all << new RoiDecoder(zip.readAllBytes(), entry.getName()).getRoi()
	}
	return all
}

void show(List all) {
	if (rois != "ROI Manager") {
		def overlay = new Overlay()
		all.each { overlay.add((ij.gui.Roi) it.clone()) }
		overlay.drawNames(false)
		overlay.drawLabels(false)
		imp.setOverlay(overlay)
	}
	if (rois == "overlay" || GraphicsEnvironment.isHeadless()) return
	def manager = RoiManager.getInstance() ?: new RoiManager()
	def own = IJ.getProperty(MANAGED)
	if (manager.getCount() > 0 && own != manager.getCount() && !Interpreter.getInstance()) {
		def question = new YesNoCancelDialog(IJ.getInstance(), "Segment Image", "The ROI Manager holds " + manager.getCount() + " ROIs.\nTake them out?", "Take out", "Add to them")
		if (question.cancelPressed()) worker.stopped()
		if (question.yesPressed()) manager.reset()
	} else manager.reset()
	all.each { manager.addRoi((ij.gui.Roi) it) }
	IJ.setProperty(MANAGED, manager.getCount())
	if (imp.getWindow() == null) return
	def recording = Recorder.record
	Recorder.record = false  // the call of this script is what is recorded
	def selection = imp.getRoi()
	manager.runCommand(imp, all ? "Show All without labels" : "Show None")
	if (selection != null) imp.setRoi(selection)  // Show All takes it away
	Recorder.record = recording
}

// ImageJ's own numbers: Measure of every ROI in a copy.
def measure(ImageProcessor pixels, List all, calibration) {
	def copy
	if (imp.getStackSize() == 1) copy = new ImagePlus(imp.title, pixels)
	else {
		// A stack of as many slices, all of them these pixels: so its rows are labelled as the open one's.
		def stack = new ImageStack(pixels.width, pixels.height)
		(1..imp.getStackSize()).each { stack.addSlice(imp.getStack().getSliceLabel(it), pixels) }
		copy = new ImagePlus(imp.title, stack)
		copy.setSliceWithoutUpdate(imp.getStackIndex(channel(measured), imp.getZ(), imp.getT()))
	}
	copy.setCalibration(calibration)
	def overlay = new Overlay()
	all.each { overlay.add((ij.gui.Roi) it.clone()) }
	def before = Analyzer.getMeasurements()
	def decimals = Analyzer.getPrecision()
	try {
		Analyzer.setMeasurements(Measurements.AREA + Measurements.MEAN + Measurements.STD_DEV + Measurements.MIN_MAX + Measurements.CENTROID + Measurements.INTEGRATED_DENSITY + Measurements.LABELS)
		Analyzer.setPrecision(3)
		return overlay.measure(copy)
	} finally {
		Analyzer.setMeasurements(before)
		Analyzer.setPrecision(decimals)
	}
}

// The numbers by the native engine as well; says whether they agree.
boolean agree(table, File folder, File image, String roiset, Map given) {
	def results = new File(folder, "Results.csv")
	table.saveAs(results.path)
	def n = imp.getStackIndex(channel(measured), imp.getZ(), imp.getT())
	def stack = imp.getStackSize() == 1 ? null : [n - 1, imp.getStackSize(), imp.getStack().getSliceLabel(n) ?: ""]
	def checked = worker.ask("fiji_worker.check(task, image, roiset, results, settings, title, scale, stack)",
		[image: image.path, roiset: roiset, results: results.path, title: imp.title, stack: stack] + given, [(image.path): imp.title])
	if (!checked.agree) IJ.log("Segment Image: " + imp.title + ": ImageJ and the native engine differ. " + checked.difference)
	return checked.agree
}

// The cells, or nuclei, of a channel.
Map found(File folder, int channel, String what, Map settings) {
	def image = saved(plane(channel), new File(folder, what))
	def answer = worker.ask("fiji_worker.segment(task, image, out, settings, None, what)",
		[image: image.path, out: folder.path, settings: settings, what: what], [(image.path): imp.title])
	answer.warnings.each { IJ.log("Segment Image: " + it.toString().replace(image.path, imp.title)) }
	return answer + [rois: read(new File(answer.roiset.toString()))]
}

double number(String text, String what, String example) {
	if (!text.isDouble()) worker.refuse(what + " (got " + text + ", expected e.g. " + example + ", or none). Correct it.")
	return text as double
}

String several(int n, String thing) { n + " " + thing + (n == 1 ? "" : "s") }

void work(File folder) {
	def ball = none(radius) ? 0.0d : number(radius, "Radius of the rolling ball: not a number of px", "50")
	if (ball <= 0 && !none(radius)) worker.refuse("Radius of the rolling ball: not a number of px (got " + radius + ", expected e.g. 50, or none). Correct it.")
	def gate = none(threshold) ? null : number(threshold, "Threshold: not a grey level", "300")
	if (gate != null && none(measured)) worker.refuse("Threshold: nothing is measured (got " + threshold + ", expected none). Choose the channel that is measured.")
	if (!none(measured)) channel(measured)
	def at = none(nuclei) ? 0 : channel(nuclei)
	def picked = colour == "its only signal" ? [:] : [rgb_channel: colour]
	def cells = found(folder, channel(cells), "cells", [model: model, diameter: diameter] + picked)
	def inside = at ? found(folder, at, "nuclei", [count_model: nuclei_model, count_diameter: nuclei_diameter] + picked) : null
	def said = [several(cells.rois.size(), "cell")]
	if (inside) said << (inside.rois.size() == 1 ? "1 nucleus" : inside.rois.size() + " nuclei")
	def table = null
	if (!none(measured)) {
		def pixels = plane(channel(measured))
		def image = saved(pixels, new File(folder, "measured"))
		def colours = ["red", "green", "blue"].indexOf(cells.rgb_channel.toString())
		def grey = pixels instanceof ColorProcessor ? new ByteProcessor(pixels.width, pixels.height, pixels.getChannel(colours + 1)) : pixels
		def scale = imp.getCalibration().copy()
		if (scale.getUnit().startsWith("inch")) {
			// What a TIFF says in inch is dots for a printer.
			scale.pixelWidth = 1
			scale.pixelHeight = 1
			scale.setUnit("pixel")
		}
		if (ball > 0) new BackgroundSubtracter().rollingBallBackground(grey, ball, false, false, false, true, true)
		table = measure(grey, cells.rois, scale)
		def ofNuclei = inside ? measure(grey, inside.rois, scale) : null
		if (check) {
			def given = [settings: [rolling_ball: radius.toLowerCase()] + (cells.rgb_channel ? [rgb_channel: cells.rgb_channel] : [:]),
				scale: [scale.pixelWidth, scale.pixelHeight, scale.scaled() ? scale.getUnit() : "pixel"]]
			def right = agree(table, folder, image, cells.roiset.toString(), given)
			if (inside) right = agree(ofNuclei, folder, image, inside.roiset.toString(), given) && right
			said << (right ? "both engines agree to the last digit" : "THE ENGINES DIFFER: see the Log")
		}
		if (gate != null) said << called(cells, inside, table, ofNuclei, gate, folder)
	}
	// Nothing is shown before all went well.
	show(cells.rois)
	if (table != null && !GraphicsEnvironment.isHeadless()) table.show("Results")
	IJ.showStatus(imp.title + ": " + said.join(", "))
	IJ.log("Segment Image: " + imp.title + ": " + said.join(", ") + " (" + cells.model + ", diameter " + cells.diameter_px + " px)")
}

// Gives each cell the group and colour of its call; says how many are positive.
String called(Map cells, Map inside, table, ofNuclei, double gate, File folder) {
	def means = { of, all -> all ? of.getColumnAsDoubles(of.getColumnIndex("Mean")) as List : [] }
	def calls
	def more = ""
	if (inside) {
		def answer = worker.ask("fiji_worker.positive(task, cells, nuclei, values, threshold, width, height)", [cells: cells.roiset, nuclei: inside.roiset,
			values: means(ofNuclei, inside.rois), threshold: gate, width: imp.width, height: imp.height])
		calls = answer.calls
		def without = calls.count { it == "none" }
		if (without) more += ", " + without + " without nucleus"
		if (answer.orphans) more += ", " + (answer.orphans == 1 ? "1 nucleus" : answer.orphans + " nuclei") + " in no cell"
	} else calls = means(table, cells.rois).collect { it > gate ? "positive" : "negative" }
	cells.rois.eachWithIndex { roi, i ->
		roi.setGroup(GROUPS[calls[i]])
		roi.setStrokeColor(COLOURS[calls[i]])
	}
	return calls.count { it == "positive" } + " of " + calls.count { it != "none" } + " positive above " + threshold + more
}

def lib = new File(IJ.getDirectory("imagej"), "lib/cellpose-fiji-bridge")
def loader = new GroovyClassLoader(getClass().getClassLoader())
loader.addClasspath(lib.path)
worker = loader.loadClass("CellposeWorker").newInstance("Segment Image")
worker.perform { folder -> work(folder) }
null
